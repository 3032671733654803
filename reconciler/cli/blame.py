"""`reconciler blame`."""

from typing import Annotated

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute, guarded
from reconciler.cli.exits import DONE, finish
from reconciler.cli.status import StatusFormat


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("blame", short_help="Who declared each field of a resource, and where.")(blame)


def blame(
    key: Annotated[str, typer.Argument(metavar="KEY", help="For example deployment/etl/nightly.")],
    path: options.Path = ".",
    form: Annotated[
        StatusFormat, typer.Option("--format", help="How to write it.")
    ] = StatusFormat.text,
    repo: options.Repo = None,
    ref: options.Ref = None,
    folder: options.Folder = None,
    env: options.Env = None,
    verbose: options.Verbose = 0,
) -> None:
    """Show for each field of a resource the commit, author and line that declare it.

    Where an API is configured, fields that were changed there are shown as such.
    """
    from reconciler.cli import blamework

    where = guarded(options.location, path, repo, ref, folder)
    wishes = options.wishes(env, None, secrets=False, only_drift=True)
    found = execute(blamework.blame, where, wishes, key, verbose)
    blamework.show(found, as_json=form is StatusFormat.json)
    finish(DONE)
