"""`reconciler ci`."""

from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute
from reconciler.cli.exits import DONE, finish


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        name="ci",
        help="For CI jobs: show a plan in the pull request.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.callback()(_group)  # without one a single command would be the group itself
    group.command("comment", short_help="Write a plan into the pull request.")(comment)
    app.add_typer(group, short_help="For CI jobs: show a plan in the pull request.")


def _group() -> None:
    """Show a plan in the pull request."""


def comment(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="What `reconciler plan --format markdown` wrote; - for stdin."
        ),
    ],
    name: Annotated[
        str,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Names the comment and the commit status; give each environment its own.",
        ),
    ] = "reconciler",
    number: Annotated[
        int | None,
        typer.Option(
            "--number", metavar="N", min=1, help="Of the pull request. [default: the job's]"
        ),
    ] = None,
    commit: Annotated[
        str | None,
        typer.Option(
            "--commit", metavar="SHA", help="That gets the status. [default: the request's newest]"
        ),
    ] = None,
    status: Annotated[
        bool, typer.Option("--status/--no-status", help="Set the commit status, too.")
    ] = True,
    verbose: options.Verbose = 0,
) -> None:
    """Write a plan into the pull request: one comment, renewed each time, and a commit status.

    In a job of GitHub Actions, GitLab CI or Gitea Actions all else is known. The token is GH_TOKEN,
    GITHUB_TOKEN or GITLAB_TOKEN; elsewhere set RECONCILER_FORGE, RECONCILER_FORGE_URL,
    RECONCILER_FORGE_PROJECT and RECONCILER_FORGE_TOKEN. An empty or missing FILE says that no plan
    could be made.
    """
    from reconciler.cli import ciwork

    execute(ciwork.comment, ciwork.Wish(file, name, number, commit, status), verbose)
    finish(DONE)
