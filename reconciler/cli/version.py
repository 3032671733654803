"""`reconciler version`."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("version", short_help="Print versions.")(version)


def version(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Print the versions of this program, of Python, and of a Prefect beside it."""
    import json
    import sys

    from reconciler.cli.versions import as_text, versions

    sys.stdout.write((json.dumps(versions()) if as_json else as_text()) + "\n")
