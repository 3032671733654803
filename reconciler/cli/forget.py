"""`reconciler forget`."""

from typing import Annotated

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute, guarded
from reconciler.cli.exits import DONE, finish


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("forget", short_help="Let go of a resource without deleting it.")(forget)


def forget(
    key: Annotated[str, typer.Argument(metavar="KEY", help="For example deployment/etl/nightly.")],
    path: options.Path = ".",
    env: options.Env = None,
    lock_timeout: options.LockTimeout = 0.0,
    verbose: options.Verbose = 0,
) -> None:
    """Drop a resource from the inventory: it stays live, and we never touch it again."""
    from rich.markup import escape

    from reconciler.cli import work
    from reconciler.cli.console import say

    where = guarded(options.location, path, None, None, None)
    wishes = options.wishes(env, None, lock_timeout=lock_timeout)
    execute(work.forget, where, wishes, key, verbose)
    say(f"[green]✓[/] {escape(key)} is no longer in the inventory; the live object stays.")
    finish(DONE)
