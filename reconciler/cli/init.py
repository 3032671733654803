"""`reconciler init`."""

from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli.execute import guarded


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init", short_help="Write a starter repository.")(init)


def init(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Where to write it. [default: here]", show_default=False
        ),
    ] = Path(),
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="Name of the inventory. [default: the folder's name]"
        ),
    ] = None,
) -> None:
    """Write a starter repository: policy, a block, a deployment, a flow and CI workflows.

    Files that exist are left alone.
    """
    from reconciler.cli.console import say
    from reconciler.cli.starter import write_starter

    written, kept = guarded(write_starter, directory, name)
    for file in written:
        say(f"[green]+[/] {file}")
    for file in kept:
        say(f"[dim]= {file} exists and stays as it is[/]")
    say(f"\nNext: [bold]reconciler up {directory}[/] runs it all on this machine.")
