"""`reconciler schema`."""

from typing import Annotated

import typer

from reconciler.cli.execute import guarded


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schema", short_help="Print the JSON Schema of the manifests.")(schema)


def schema(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND", help="Block, Deployment or Policy; all documents without it."
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of the manifests, for editors."""
    import json

    from reconciler.cli.console import write
    from reconciler.kinds import KINDS
    from reconciler.manifests.schemas import json_schema

    write(json.dumps(guarded(json_schema, KINDS, kind), indent=2))
