"""`reconciler validate`."""

from enum import StrEnum
from typing import Annotated

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute, guarded
from reconciler.cli.exits import DONE, FAILED, finish


class ProblemFormat(StrEnum):
    """Formats of problems."""

    text = "text"
    json = "json"
    github = "github"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("validate", short_help="Check the manifests, offline; every problem at once.")(
        validate
    )


def validate(
    path: options.Path = ".",
    form: Annotated[
        ProblemFormat, typer.Option("--format", help="How to write problems.")
    ] = ProblemFormat.text,
    online: Annotated[
        bool, typer.Option("--online", help="Also check what only the server knows.")
    ] = False,
    repo: options.Repo = None,
    ref: options.Ref = None,
    folder: options.Folder = None,
    policy_from: options.PolicyFrom = None,
    env: options.Env = None,
    no_secrets: options.NoSecrets = False,
    verbose: options.Verbose = 0,
) -> None:
    """Check the manifests, offline, and show every problem at once as file:line:col."""
    from reconciler.cli import work

    where = guarded(options.location, path, repo, ref, folder, policy_from)
    wishes = options.wishes(env, None, secrets=not no_secrets)
    checked = execute(work.validate, where, wishes, online, verbose)
    work.show_problems(checked, form.value)
    finish(DONE if checked.valid else FAILED)
