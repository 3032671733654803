"""`reconciler apply`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute, guarded
from reconciler.cli.exits import finish

if TYPE_CHECKING:
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
    wishes = options.wishes(
        env,
        target,
        allow_deletes=allow_deletes,
        allow_cascade=allow_cascade,
        adopt=adopt,
        take_over=take_over,
        lock_timeout=lock_timeout,
    )
    report = execute(_apply, where, wishes, plan_file, yes, form, verbose, imports=True)
    from reconciler.cli import work

    finish(work.finish_apply(report, form, detailed=detailed_exitcode))


async def _apply(
    where: "Location",
    wishes: "Wishes",
    plan_file: Path | None,
    yes: bool,
    form: options.PlanFormat,
    verbose: int,
) -> "Report":
    from reconciler.cli.begin import begin_to_plan

    async with begin_to_plan(verbose) as app:
        from reconciler.cli import work

        saved = None
        if plan_file is not None:
            saved = work.load(plan_file)
            where, wishes = saved.merge(where, wishes)
        return await work.apply(app, where, wishes, work.Consent(yes=yes, saved=saved, form=form))
