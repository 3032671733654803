"""What a git forge does for us."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Verdict(StrEnum):
    """What a commit status says."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """A mark on a commit.

    Attributes:
        verdict: what it says.
        text: one sentence.
        name: tells it from the marks of others; a new one of a name replaces the one before.
        link: where to read more, if there is such a page.
    """

    verdict: Verdict
    text: str
    name: str = "reconciler"
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """A repository on a forge.

    Attributes:
        kind: `github`, `gitlab` or `gitea`.
        api: address of the API.
        path: `owner/repository`, with GitLab any number of groups before; or an id there.
    """

    kind: str
    api: str
    path: str


class Forge(Protocol):
    """One repository on a forge. Each method may raise what `outgoing.Correspondent.ask` does."""

    async def mark(self, commit: str, status: CommitStatus) -> None:
        """Set a status of a commit."""
        ...

    async def comment(self, number: int, marker: str, body: str) -> str:
        """Write our comment on a pull request: make it, or put new text in its place.

        Args:
            number: of the pull or merge request.
            marker: begins the comment, and tells it from others of ours.
            body: what follows the marker; Markdown.

        Returns:
            Its address.
        """
        ...


def cut(text: str, longest: int) -> str:
    """Shorten a sentence to a number of characters."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
