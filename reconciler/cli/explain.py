"""`reconciler explain`."""

from typing import Annotated

import typer

from reconciler.cli.execute import guarded


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain", short_help="What a kind, a block type or a field is.")(explain)


def explain(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="KIND[.FIELD]",
            help="Deployment, Deployment.schedules, Policy.prune, Block.docker-container.env, …",
        ),
    ],
) -> None:
    """Show the fields of a kind, a block type or the policy: types, defaults, meaning, an example."""
    from reconciler.cli.console import out
    from reconciler.cli.explainwork import explained

    out().print(guarded(explained, subject))
