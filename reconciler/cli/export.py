"""`reconciler export`."""

from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute, guarded
from reconciler.cli.exits import DONE, finish


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export", short_help="Write what a server holds as manifests.")(export)


def export(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where to write; made if missing.")
    ],
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help="Only this kind, as `Block`; repeatable."),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key", metavar="KEY", help="Only resources whose key matches this glob; repeatable."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over files that are there and differ.")
    ] = False,
    verbose: options.Verbose = 0,
) -> None:
    """Write what a Prefect server holds as manifests, one file for each object.

    What is default is left out, references go by name, and no secret is read: each is written as
    ${{ secrets.NAME }}, and the names that must be provided are listed. Applied to the same server
    the manifests change nothing; to another one, 2.20 or 3.x, they make the same workspace.
    """
    from reconciler.cli import exportwork

    guarded(exportwork.check, kind or ())
    tree = execute(exportwork.export, tuple(kind or ()), tuple(key or ()), verbose)
    guarded(exportwork.write, tree, out, force)
    finish(DONE)
