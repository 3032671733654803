"""`reconciler generate`."""

from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli.execute import guarded
from reconciler.cli.exits import DONE, finish


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        name="generate", help="Write manifests.", no_args_is_help=True, rich_markup_mode=None
    )
    group.callback()(_group)  # without one a single command would be the group itself
    group.command("deployment", short_help="A deployment of a flow function.")(deployment)
    app.add_typer(group, short_help="Write a manifest, as `prefect deployment build` did.")


def _group() -> None:
    """Write a manifest, as `prefect deployment build` did."""


def deployment(
    entrypoint: Annotated[
        str, typer.Argument(metavar="FILE:FUNCTION", help="For example flows/etl.py:etl.")
    ],
    name: Annotated[str, typer.Option("-n", "--name", metavar="NAME", help="Of the deployment.")],
    infra: Annotated[
        str | None,
        typer.Option("-i", "--infra", metavar="TYPE", help="Infrastructure written inline."),
    ] = None,
    infra_block: Annotated[
        str | None,
        typer.Option("-ib", "--infra-block", metavar="BLOCK", help="A saved block: process/local."),
    ] = None,
    storage_block: Annotated[
        str | None,
        typer.Option("-sb", "--storage-block", metavar="BLOCK", help="A saved block: s3/dev."),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--override", metavar="KEY=VALUE", help="On the block's data: env.A=1; repeatable."
        ),
    ] = None,
    work_queue: Annotated[
        str | None, typer.Option("-q", "--work-queue", metavar="QUEUE", help="That runs it.")
    ] = None,
    pool: Annotated[
        str | None, typer.Option("-p", "--pool", metavar="POOL", help="That has the queue.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option("--cron", metavar="CRON", help="A schedule: '0 3 * * *'.")
    ] = None,
    interval: Annotated[
        int | None, typer.Option("--interval", metavar="SECONDS", min=1, help="A schedule.")
    ] = None,
    rrule: Annotated[
        str | None, typer.Option("--rrule", metavar="RRULE", help="A schedule: 'FREQ=DAILY'.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option("--timezone", metavar="ZONE", help="Of the schedule.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("-t", "--tag", metavar="TAG", help="Repeatable.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param", metavar="NAME=VALUE", help="A parameter; the value as JSON, else as text."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write it. [default: stdout]"),
    ] = None,
) -> None:
    """Write a manifest for a flow function. Its source is read, and never run.

    The parameter schema has the types, defaults and docstrings that stand there; a type that can't
    be known without running it is left open. `reconciler validate` says when the function no
    longer fits.
    """
    from reconciler.cli import generatework

    timings = {"cron": cron, "interval": interval, "rrule": rrule}
    wish = generatework.Wish(
        entrypoint=entrypoint,
        name=name,
        infra=infra,
        infra_block=infra_block,
        storage_block=storage_block,
        overrides=tuple(override or ()),
        queue=work_queue,
        pool=pool,
        schedule={k: v for k, v in timings.items() if v is not None},
        timezone=timezone,
        tags=tuple(tag or ()),
        parameters=tuple(param or ()),
    )
    guarded(generatework.generate, wish, out)
    finish(DONE)
