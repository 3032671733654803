"""`reconciler serve`."""

from typing import Annotated

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute, guarded
from reconciler.cli.exits import finish


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve", short_help="The service: follow a repository, apply, run the agent.")(
        serve
    )


def serve(
    repo: Annotated[
        str | None,
        typer.Option(
            "--repo",
            metavar="URL",
            help="The git repository to follow. [env: RECONCILER_REPO]",
            show_default=False,
        ),
    ] = None,
    ref: Annotated[
        str | None,
        typer.Option(
            "--ref",
            metavar="REF",
            help="Branch, tag or commit to follow. [env: RECONCILER_REF; default: HEAD]",
            show_default=False,
        ),
    ] = None,
    folder: Annotated[
        str | None,
        typer.Option(
            "--path", metavar="DIR", help="Folder inside the repository. [env: RECONCILER_PATH]"
        ),
    ] = None,
    env: Annotated[
        str | None,
        typer.Option(
            "--env",
            metavar="NAME",
            help="Environment of reconciler.yaml to use. [env: RECONCILER_ENV]",
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Where pages, API and webhooks are. [env: RECONCILER_WEB_LISTEN;"
            " default: 127.0.0.1:8383]",
            show_default=False,
        ),
    ] = None,
    no_agent: Annotated[
        bool, typer.Option("--no-agent", help="Only reconcile; others launch the flow runs.")
    ] = False,
    no_reconcile: Annotated[
        bool, typer.Option("--no-reconcile", help="Only run the agent; others reconcile.")
    ] = False,
    take_over: options.TakeOver = False,
    verbose: options.Verbose = 0,
) -> None:
    """Follow a git repository: apply what is merged, heal or report drift, launch flow runs.

    Credentials, webhooks, sign-in and all else are settings: variables RECONCILER_*, or files that
    RECONCILER_*_FILE name. The README lists each.
    """
    from reconciler.app.service import Halves
    from reconciler.cli import servework

    halves = Halves(reconcile=not no_reconcile, agent=not no_agent)
    given = {"repo": repo, "ref": ref, "path": folder, "env": env}
    app = guarded(servework.prepared, given, listen, halves, verbose)
    finish(execute(servework.serve, app, halves, take_over))
