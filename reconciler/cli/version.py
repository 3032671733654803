"""`reconciler version`."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("version", short_help="Print versions.")(version)


def version(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Print the versions of this program, of Python, and of a Prefect beside it."""
    import json
    import platform
    import sys
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    from reconciler import __version__

    found = {"reconciler": __version__, "python": platform.python_version()}
    try:
        found["prefect"] = installed("prefect")
    except PackageNotFoundError:
        found["prefect"] = "not installed"
    text = (
        json.dumps(found)
        if as_json
        else "\n".join(f"{name} {number}" for name, number in found.items())
    )
    sys.stdout.write(text + "\n")
