"""`reconciler up`."""

from typing import Annotated

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute, guarded
from reconciler.cli.exits import finish


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("up", short_help="Run it all here: Prefect server, watcher, agent.")(up)


def up(
    path: options.Path = ".",
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="Apply, run each deployment that isn't paused once, wait, report, end."
        ),
    ] = False,
    embedded: Annotated[
        bool,
        typer.Option(
            "--embedded", help="Run a Prefect server of our own, even where an API is configured."
        ),
    ] = False,
    repo: options.Repo = None,
    ref: options.Ref = None,
    folder: options.Folder = None,
    env: options.Env = None,
    adopt: options.Adopt = None,
    yes: options.Yes = False,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=1,
            help="With --once: how long to wait for the runs. [default: 600]",
            show_default=False,
        ),
    ] = 600.0,
    verbose: options.Verbose = 0,
) -> None:
    """Run it all on this machine: Prefect server, watcher and agent. Ctrl-C stops it."""
    from reconciler.cli import upwork

    where = guarded(options.location, path, repo, ref, folder)
    wishes = options.wishes(env, None, adopt=adopt, lock_timeout=30.0)
    ask = upwork.Manner(embedded=embedded, once=once, yes=yes, timeout=timeout)
    finish(execute(upwork.up, where, wishes, ask, verbose))
