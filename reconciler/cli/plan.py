"""`reconciler plan`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute, guarded
from reconciler.cli.exits import DIFFERENT, DONE, finish

if TYPE_CHECKING:
    from reconciler.model.plan import Plan
    from reconciler.model.wishes import Location, Wishes


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan", short_help="Show what would change, why, and from which line.")(plan)


def plan(
    path: options.Path = ".",
    form: options.FormatOption = options.PlanFormat.text,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Save the plan for `apply --plan`.")
    ] = None,
    repo: options.Repo = None,
    ref: options.Ref = None,
    folder: options.Folder = None,
    policy_from: options.PolicyFrom = None,
    env: options.Envs = None,
    target: options.Target = None,
    allow_deletes: options.AllowDeletes = None,
    allow_cascade: options.AllowCascade = None,
    adopt: options.Adopt = None,
    no_secrets: options.NoSecrets = False,
    take_over: options.TakeOver = False,
    detailed_exitcode: options.Detailed = False,
    verbose: options.Verbose = 0,
) -> None:
    """Show what would change: each field, why, from which file and line, and what it disturbs."""
    where = guarded(options.location, path, repo, ref, folder, policy_from)
    shared = {
        "allow_deletes": allow_deletes,
        "allow_cascade": allow_cascade,
        "adopt": adopt,
        "secrets": not no_secrets,
        "take_over": take_over,
    }
    names: list[str | None] = [*dict.fromkeys(env or [])]
    several = [options.wishes(one, target, **shared) for one in names or [None]]
    if out is not None:
        guarded(options.require_one, several)
    made = [execute(_plan, where, wishes, form, verbose, imports=True) for wishes in several]
    from reconciler.cli import work

    work.show_all(made, form)
    if out is not None:
        from reconciler.cli.saved import save

        guarded(save, made[0], where, several[0], out)
    different = any(not one.empty for one in made)
    finish(DIFFERENT if detailed_exitcode and different else DONE)


async def _plan(
    where: "Location", wishes: "Wishes", form: options.PlanFormat, verbose: int
) -> "Plan":
    from reconciler.cli.begin import begin_to_plan

    async with begin_to_plan(verbose) as app:
        from reconciler.cli import work

        return await work.plan_or_problems(app, where, wishes, form)
