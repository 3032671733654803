"""Who wrote which line: `git blame`, read from its porcelain form (git-blame(1))."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from reconciler.source.git.command import Git, GitFailed

_HEAD = re.compile(rb"(?P<commit>[0-9a-f]{40}|[0-9a-f]{64}) \d+ (?P<line>\d+)(?: \d+)?")


@dataclass(frozen=True, slots=True)
class Written:
    """Who wrote a line last.

    Attributes:
        commit: its id; None for what is not committed yet.
        author: their name.
        when: they wrote it, in UTC.
        summary: first line of the commit's message.
    """

    commit: str | None
    author: str
    when: datetime | None
    summary: str


def blame(git: Git, path: str, revision: str | None = None) -> dict[int, Written]:
    """Return who wrote each line of a file, by line number; empty where git doesn't know the file.

    Args:
        git: in the repository.
        path: of the file, from where `git` runs.
        revision: commit; None for the file as it is on disk.
    """
    words = ["blame", "--porcelain", "--no-textconv", *([revision] if revision else [])]
    try:
        out = git.run(*words, "--", path)
    except GitFailed:
        return {}
    return dict(_lines(out))


def _lines(out: bytes) -> Iterator[tuple[int, Written]]:
    known: dict[str, dict[str, str]] = {}
    commit, number = "", 0
    for line in out.split(b"\n"):
        head = _HEAD.fullmatch(line)
        if head is not None:
            commit, number = head["commit"].decode(), int(head["line"])
            known.setdefault(commit, {})
        elif line.startswith(b"\t"):
            yield number, _written(commit, known[commit])
        elif commit:
            key, _, value = line.decode(errors="replace").partition(" ")
            known[commit].setdefault(key, value)


def _written(commit: str, said: Mapping[str, str]) -> Written:
    if set(commit) == {"0"}:
        return Written(None, "", None, "not committed yet")
    when = _moment(said.get("author-time", ""))
    return Written(commit, said.get("author", ""), when, said.get("summary", ""))


def _moment(seconds: str) -> datetime | None:
    """Read a commit's time, which may be any number that its author likes (found by fuzzing)."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return None
