"""A verified tree: what a source hands over."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol


class Contents(Protocol):
    """Gives the bytes of a file of a snapshot, as they were when it was taken."""

    def read(self, file: "File") -> bytes:
        """Return the content.

        Raises:
            SourceError: if it can't be read any more.
        """
        ...


@dataclass(frozen=True, order=True, slots=True)
class File:
    r"""A regular file of the tree.

    Attributes:
        path: relative to the root of the snapshot, with `/`.
        blob: git's blob id (SHA-1 or SHA-256 over `blob <size>\\0<content>`), in hex; the cache key.
        size: in bytes.
        executable: whether its owner may execute it; flow code may need that.
    """

    path: str
    blob: str
    size: int
    executable: bool = False


by_path = attrgetter("path")
"""Sorts the files of one tree much faster than `File` itself would."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a tree comes from, as far as it says whose it is.

    Attributes:
        roots: the root commits of the history, sorted; empty outside git and where they can't be
            known (a shallow clone, a repository without commits).
        path: the folder inside the repository, `""` for its root.
        location: what the user called it (a path or a URL without credentials), for people.
        shallow: a clone without its root commits, as CI systems make them: it may be any tree's.
    """

    roots: tuple[str, ...] = ()
    path: str = ""
    location: str = ""
    shallow: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A tree at one moment.

    Attributes:
        revision: `<sha>`, `<sha>+dirty:<tree hash>`, or `sha256:<hash>` outside git.
        digest: content hash of all files (paths, blob ids, execute bits), whatever the commit.
        files: every file that may be a manifest or is named by one, sorted by path. Links and
            special files are in `passed_over`, with the reason.
        origin: whose tree it is.
        verified: whether the listing is known to be whole; deletes need that.
    """

    revision: str
    digest: str
    files: tuple[File, ...]
    origin: Origin
    contents: Contents
    verified: bool = True
    passed_over: tuple[tuple[str, str], ...] = ()
    commit: str | None = None

    def read(self, path: str) -> bytes | None:
        """Return the content of a file by its path, None if there is none."""
        found = next((file for file in self.files if file.path == path), None)
        return None if found is None else self.contents.read(found)
