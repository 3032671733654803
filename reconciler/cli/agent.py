"""`reconciler agent`."""

from typing import Annotated

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute, guarded
from reconciler.cli.exits import DONE, finish


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("agent", short_help="Launch due flow runs on their infrastructure.")(agent)


def agent(
    queues: Annotated[
        list[str] | None,
        typer.Option(
            "-q",
            "--work-queue",
            metavar="NAME",
            help="Work queue to serve; repeatable. [default: all of the pool]",
        ),
    ] = None,
    match: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--match",
            metavar="PREFIX",
            help="Serve the queues whose names begin so; repeatable.",
        ),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(
            "-p", "--pool", metavar="NAME", help="Work pool. [default: default-agent-pool]"
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("-l", "--limit", metavar="N", min=1, help="Most flow runs at a time."),
    ] = None,
    prefetch: Annotated[
        float | None,
        typer.Option(
            "--prefetch-seconds",
            metavar="SECONDS",
            min=0,
            help="How far ahead scheduled flow runs are known. [default: 15]",
        ),
    ] = None,
    run_once: Annotated[
        bool, typer.Option("--run-once", help="Take the runs due now, wait for their end, and end.")
    ] = False,
    repo: Annotated[
        str | None,
        typer.Option(
            "--repo",
            metavar="URL",
            help="Serve $STORAGE_BASE_PATH from the commits of this repository.",
        ),
    ] = None,
    ref: options.Ref = None,
    folder: options.Folder = None,
    verbose: options.Verbose = 0,
) -> None:
    """Run the agent alone: due flow runs are launched on their infrastructure."""
    from reconciler.cli import agentwork

    where = guarded(options.location, ".", repo, ref, folder) if repo else None
    changed = {
        "queues": tuple(queues) if queues else None,
        "match": tuple(match) if match else None,
        "pool": pool,
        "limit": limit,
        "prefetch_seconds": prefetch,
    }
    given = {name: value for name, value in changed.items() if value is not None}
    execute(agentwork.agent, where, given, run_once, verbose)
    finish(DONE)
