"""What all sources agree on about trees: names, reasons and the digest."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.model.snapshot import File, by_path

LINK = "a symbolic link: links are never followed"
NESTED = "another git repository (a submodule)"
SPECIAL = "not a regular file"


@dataclass(frozen=True, slots=True)
class Listing:
    """The files below a root, and what was left out.

    Attributes:
        files: regular files, sorted by path.
        passed_over: (path, reason) of everything else, sorted.
        whole: whether everything could be looked at; deletes need that.
    """

    files: tuple[File, ...]
    passed_over: tuple[tuple[str, str], ...] = ()
    whole: bool = True


def digest(files: Iterable[File]) -> str:
    """Return `sha256:<hex>` over the sorted (path, blob, execute bit) of files.

    It depends on contents alone: a squash merge of the same files has the same digest.
    """
    text = "".join(
        [
            f"{file.blob} {'x' if file.executable else '-'} {file.path}\0"
            for file in sorted(files, key=by_path)
        ]
    )
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


_BAD_PART = re.compile(rb"(?:^|/)(?:\.{0,2}|\.git)(?:/|\Z)", re.IGNORECASE)


def name_problem(path: bytes) -> str | None:
    """Say why a name can't be used, None if it can.

    Text of any language is fine, line breaks too. What can't be written as text could be neither
    reported nor stored; what leaves the tree or enters `.git` could harm when it is checked out.
    """
    try:
        path.decode()
    except UnicodeDecodeError:
        return "its name is not UTF-8"
    if _BAD_PART.search(path):
        return "its name leads out of the tree or into git's own files"
    return None


def show(path: bytes) -> str:
    """Return a name as text for people, whatever its bytes are."""
    return path.decode(errors="backslashreplace")
