"""`reconciler status`."""

from enum import StrEnum
from typing import Annotated

import typer

from reconciler.cli import options
from reconciler.cli.execute import execute
from reconciler.cli.exits import finish


class StatusFormat(StrEnum):
    """Formats of a status."""

    text = "text"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status", short_help="Show how a running service stands.")(status)


def status(
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="Address of its pages. [env: RECONCILER_WEB_URL; default: RECONCILER_WEB_LISTEN's]",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        StatusFormat, typer.Option("--format", help="How to write it.")
    ] = StatusFormat.text,
    detailed_exitcode: Annotated[
        bool,
        typer.Option(
            "--detailed-exitcode", help="Exit with 2 if something is not in sync, 1 on trouble."
        ),
    ] = False,
    verbose: options.Verbose = 0,
) -> None:
    """Show how a running `reconciler serve` stands: revision, resources, trouble, agent.

    A private service wants its token: RECONCILER_WEB_TOKEN.
    """
    from reconciler.cli import statuswork

    found = execute(statuswork.status, url, verbose)
    statuswork.show(found, as_json=form is StatusFormat.json)
    finish(statuswork.exit_code(found) if detailed_exitcode else 0)
