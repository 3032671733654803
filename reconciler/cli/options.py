"""Options that several commands share."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from reconciler.model.wishes import Location, Wishes

Path = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help="Directory with the manifests. [default: this one]",
        show_default=False,
    ),
]
Repo = Annotated[
    str | None,
    typer.Option(
        "--repo",
        metavar="URL",
        help="Read from this git repository instead, without a checkout.",
    ),
]
Ref = Annotated[
    str | None,
    typer.Option("--ref", metavar="REF", help="Branch, tag or commit of --repo. [default: HEAD]"),
]
Folder = Annotated[str | None, typer.Option("--path", metavar="DIR", help="Folder inside --repo.")]
PolicyFrom = Annotated[
    str | None,
    typer.Option(
        "--policy-from",
        metavar="REF",
        help="Take reconciler.yaml from this trusted ref (for pull requests).",
    ),
]
Env = Annotated[
    str | None, typer.Option("--env", metavar="NAME", help="Environment of reconciler.yaml to use.")
]
Envs = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        metavar="NAME",
        help="Environment of reconciler.yaml to use; repeatable, to see several.",
    ),
]
Target = Annotated[
    list[str] | None,
    typer.Option(
        "--target", metavar="KEY", help="Only resources whose key matches this glob; repeatable."
    ),
]
AllowDeletes = Annotated[
    int | None,
    typer.Option(
        "--allow-deletes", metavar="N", min=0, help="Let the plan delete as many as N resources."
    ),
]
AllowCascade = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-cascade",
        metavar="KEY",
        help="Allow a delete that takes other objects along; repeatable.",
    ),
]
Adopt = Annotated[
    list[str] | None,
    typer.Option(
        "--adopt", metavar="KEY", help="Take over a live object that differs; repeatable."
    ),
]
NoSecrets = Annotated[
    bool, typer.Option("--no-secrets", help="Read no secret; show them as 'not compared'.")
]
TakeOver = Annotated[
    bool,
    typer.Option("--take-over", help="Accept an inventory that another repository or folder made."),
]
LockTimeout = Annotated[
    float,
    typer.Option(
        "--lock-timeout",
        metavar="SECONDS",
        min=0,
        help="How long to wait for another writer. [default: not at all]",
        show_default=False,
    ),
]
Detailed = Annotated[
    bool,
    typer.Option("--detailed-exitcode", help="Exit with 2 if differences exist or were applied."),
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Don't ask. Needed where there is no terminal.")
]
Verbose = Annotated[
    int,
    typer.Option(
        "-v", "--verbose", count=True, help="Say more; twice for requests.", show_default=False
    ),
]


class PlanFormat(StrEnum):
    """Formats of plans and reports."""

    text = "text"
    json = "json"
    markdown = "markdown"
    html = "html"


FormatOption = Annotated[PlanFormat, typer.Option("--format", help="How to write it.")]


def location(
    path: str, repo: str | None, ref: str | None, folder: str | None, policy_ref: str | None = None
) -> "Location":
    """Make a location of the options.

    Raises:
        UsageError: if they don't go together.
    """
    from reconciler.errors import UsageError
    from reconciler.model.wishes import Location

    if repo is None and (ref or folder):
        raise UsageError(
            "--ref and --path belong to --repo", hint="give --repo URL, or a directory as PATH"
        )
    if repo is not None and path != ".":
        raise UsageError(
            "PATH and --repo exclude each other",
            hint="name a folder inside the repository with --path",
        )
    return Location(path=folder or "" if repo else path, repo=repo, ref=ref, policy_ref=policy_ref)


def wishes(env: str | None, target: list[str] | None, **more: Any) -> "Wishes":
    """Make wishes of the options; those that were not given are left out."""
    from reconciler.model.wishes import Wishes

    given: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in more.items() if v is not None
    }
    return Wishes(environment=env, targets=tuple(target or ()), **given)


def require_one(wishes: Sequence["Wishes"]) -> None:
    """Let one environment at a time be saved.

    Raises:
        UsageError: there are several.
    """
    if len(wishes) > 1:
        from reconciler.errors import UsageError

        raise UsageError(
            "a saved plan is of one environment", hint="save one after the other with --out"
        )
