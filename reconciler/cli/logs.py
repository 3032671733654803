"""`reconciler logs`."""

from typing import Annotated

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute
from reconciler.cli.exits import DONE, finish


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("logs", short_help="Show the log of a flow run's infrastructure.")(logs)


def logs(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id or name of a flow run.")],
    lines: Annotated[
        int, typer.Option("-n", "--lines", metavar="N", min=1, help="How many of the last lines.")
    ] = 100,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on until the run has ended.")
    ] = False,
    verbose: options.Verbose = 0,
) -> None:
    """Show what a flow run's process, container, job or task wrote, live or kept.

    The platform is asked for it while it has it; then come the lines that the agent kept, if it ran
    on this machine with the same state directory (RECONCILER_AGENT_STATE_DIR).
    """
    from reconciler.cli import logswork

    execute(logswork.logs, run, lines, follow, verbose)
    finish(DONE)
