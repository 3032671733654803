"""`reconciler destroy`."""

from typing import Annotated

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute, guarded
from reconciler.cli.exits import finish


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("destroy", short_help="Delete everything that the inventory owns.")(destroy)


def destroy(
    path: options.Path = ".",
    env: options.Env = None,
    confirm: Annotated[
        str | None,
        typer.Option(
            "--confirm",
            metavar="NAME",
            help="The inventory's name, instead of typing it at the prompt.",
        ),
    ] = None,
    allow_cascade: options.AllowCascade = None,
    form: options.FormatOption = options.PlanFormat.text,
    lock_timeout: options.LockTimeout = 0.0,
    verbose: options.Verbose = 0,
) -> None:
    """Delete everything that the inventory owns, run history that hangs on it included."""
    from reconciler.cli import work

    where = guarded(options.location, path, None, None, None)
    wishes = options.wishes(env, None, allow_cascade=allow_cascade, lock_timeout=lock_timeout)
    report = execute(work.destroy, where, wishes, work.Consent(confirm=confirm, form=form), verbose)
    finish(work.finish_apply(report, form, detailed=False))
