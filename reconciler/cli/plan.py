"""`reconciler plan`."""

from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute, guarded
from reconciler.cli.exits import DIFFERENT, DONE, finish


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
    env: options.Env = None,
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
    from reconciler.cli import work

    where = guarded(options.location, path, repo, ref, folder, policy_from)
    wishes = options.wishes(
        env,
        target,
        allow_deletes=allow_deletes,
        allow_cascade=allow_cascade,
        adopt=adopt,
        secrets=not no_secrets,
        take_over=take_over,
    )
    made = execute(work.plan, where, wishes, verbose)
    work.show(made, form)
    if out is not None:
        guarded(work.save, made, where, wishes, out)
    finish(DIFFERENT if detailed_exitcode and not made.empty else DONE)
