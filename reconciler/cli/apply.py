"""`reconciler apply`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute, guarded
from reconciler.cli.exits import finish

if TYPE_CHECKING:
    from reconciler.cli.saved import SavedPlan
    from reconciler.model.report import Report
    from reconciler.model.wishes import Location, Wishes


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("apply", short_help="Make Prefect match the manifests.")(apply)


def apply(
    path: options.Path = ".",
    plan_file: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            help="Apply this saved plan; refused if manifests or live state moved.",
        ),
    ] = None,
    form: options.FormatOption = options.PlanFormat.text,
    repo: options.Repo = None,
    ref: options.Ref = None,
    folder: options.Folder = None,
    policy_from: options.PolicyFrom = None,
    env: options.Env = None,
    target: options.Target = None,
    allow_deletes: options.AllowDeletes = None,
    allow_cascade: options.AllowCascade = None,
    adopt: options.Adopt = None,
    take_over: options.TakeOver = False,
    lock_timeout: options.LockTimeout = 0.0,
    yes: options.Yes = False,
    detailed_exitcode: options.Detailed = False,
    verbose: options.Verbose = 0,
) -> None:
    """Make Prefect match the manifests. Asks first on a terminal; elsewhere it needs --yes."""
    where = guarded(options.location, path, repo, ref, folder, policy_from)
    saved = guarded(_agreed, plan_file, yes)
    wishes = options.wishes(
        env,
        target,
        allow_deletes=allow_deletes,
        allow_cascade=allow_cascade,
        adopt=adopt,
        take_over=take_over,
        lock_timeout=lock_timeout,
    )
    report = execute(_apply, where, wishes, saved, yes, form, verbose, imports=True)
    from reconciler.cli import work

    finish(work.finish_apply(report, form, detailed=detailed_exitcode))


def _agreed(plan_file: Path | None, yes: bool) -> "SavedPlan | None":
    """Return the saved plan, if one is to be applied; the server is not asked before that.

    Raises:
        UsageError: it is none; or nobody has agreed, and nobody can be asked.
    """
    if plan_file is not None:
        from reconciler.cli.saved import load

        return load(plan_file)
    if not yes:
        from reconciler.cli.prompt import require_terminal

        require_terminal("look at `reconciler plan`, then apply with --yes")
    return None


async def _apply(
    where: "Location",
    wishes: "Wishes",
    saved: "SavedPlan | None",
    yes: bool,
    form: options.PlanFormat,
    verbose: int,
) -> "Report":
    from reconciler.cli.begin import begin_to_plan

    async with begin_to_plan(verbose) as app:
        from reconciler.cli import work

        if saved is not None:
            where, wishes = saved.merge(where, wishes)
        return await work.apply(app, where, wishes, work.Consent(yes=yes, saved=saved, form=form))
