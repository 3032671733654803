"""`reconciler drift`."""

from typing import TYPE_CHECKING

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute, guarded
from reconciler.cli.exits import DIFFERENT, DONE, finish

if TYPE_CHECKING:
    from reconciler.model.plan import Plan
    from reconciler.model.wishes import Location, Wishes


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("drift", short_help="Show what changed behind git's back.")(drift)


def drift(
    path: options.Path = ".",
    form: options.FormatOption = options.PlanFormat.text,
    repo: options.Repo = None,
    ref: options.Ref = None,
    folder: options.Folder = None,
    env: options.Env = None,
    target: options.Target = None,
    no_secrets: options.NoSecrets = False,
    detailed_exitcode: options.Detailed = False,
    verbose: options.Verbose = 0,
) -> None:
    """Show only what changed behind git's back since the last apply, and since when.

    When a drift was first seen is kept in the state directory (RECONCILER_STATE_DIR), so that it
    spans runs of this command.
    """
    where = guarded(options.location, path, repo, ref, folder)
    wishes = options.wishes(env, target, secrets=not no_secrets, only_drift=True)
    made = execute(_drift, where, wishes, verbose, imports=True)
    from reconciler.cli import work

    work.show(made, form)
    finish(DIFFERENT if detailed_exitcode and not made.empty else DONE)


async def _drift(where: "Location", wishes: "Wishes", verbose: int) -> "Plan":
    from reconciler.cli.begin import begin_to_plan

    async with begin_to_plan(verbose) as app:
        from reconciler.cli import work

        return await work.drift(app, where, wishes)
