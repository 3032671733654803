"""`reconciler unlock`."""

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute, guarded
from reconciler.cli.exits import DONE, finish


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("unlock", short_help="Free the lease of a writer that died.")(unlock)


def unlock(path: options.Path = ".", env: options.Env = None, verbose: options.Verbose = 0) -> None:
    """Free the lease of a writer that died. A living writer's lease is left alone."""
    from rich.markup import escape

    from reconciler.cli import work
    from reconciler.cli.console import say

    where = guarded(options.location, path, None, None, None)
    freed = execute(work.unlock, where, options.wishes(env, None), verbose)
    say(f"[green]✓[/] Freed the lease of {escape(freed)}." if freed else "Nobody holds the lease.")
    finish(DONE)
