"""Walking and reading a directory without ever following a link.

Every folder and file is opened step by step from the root, each step refusing links, so that a
tree that changes meanwhile cannot lead out of itself. All names are bytes here.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.errors import SourceError
from reconciler.model.snapshot import File, by_path
from reconciler.source.base import SourceChanged
from reconciler.source.tree import LINK, NESTED, SPECIAL, Listing, name_problem, show

_CHUNK = 1 << 20
_GIT = b".git"
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A named pipe would block the open; what is opened is checked to be a regular file.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Gone, a link, a pipe or socket, no folder any more.
_REPLACED = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a walk leaves out.

    Attributes:
        ignored: paths that are passed over in silence; a folder ends with a slash.
        committed_folders: folders that the commit has files in. They are entered even if they
            have a `.git` of their own; others of that sort are somebody else's repository.
        hash_name: `sha1` or `sha256`, for blob ids.
    """

    ignored: frozenset[bytes] = frozenset()
    committed_folders: frozenset[bytes] = frozenset()
    hash_name: str = "sha1"


@dataclass(slots=True)
class _Found:
    files: list[File] = field(default_factory=list)
    passed_over: list[tuple[str, str]] = field(default_factory=list)
    whole: bool = True

    def failed(self, path: bytes, error: OSError) -> None:
        """Note what can't be read; what was listed and is something else by now is a change."""
        if error.errno in _REPLACED:
            raise _changed(show(path)) from None
        self.whole = False
        self.passed_over.append((show(path) or ".", f"can't be read: {error.strerror}"))


def scan(root: Path, rules: Rules) -> Listing:
    """List and hash all regular files below a directory.

    Raises:
        SourceError: the directory itself can't be read.
        SourceChanged: a file changed or vanished meanwhile.
    """
    found = _Found()
    folders = [b""]
    with _opened_root(root) as top:
        while folders:
            folders += _visit(top, folders.pop(), rules, found)
    return Listing(
        tuple(sorted(found.files, key=by_path)), tuple(sorted(found.passed_over)), found.whole
    )


def read_file(root: Path, file: File, hash_name: str) -> bytes:
    """Return the content of a file, proven to be the one that was listed.

    Raises:
        SourceChanged: it is not the same any more.
        SourceError: the directory itself can't be read.
    """
    try:
        with _opened_root(root) as top, _opened(top, file.path.encode()) as handle:
            content = _read_to_end(handle, file.size)
    except OSError:
        raise _changed(file.path) from None
    if _blob_id(content, hash_name) != file.blob:
        raise _changed(file.path)
    return content


def _visit(top: int, folder: bytes, rules: Rules, found: _Found) -> list[bytes]:
    """Take the files of one folder and return its folders."""
    try:
        with _opened_folder(top, folder) as handle, os.scandir(handle) as entries:
            listed = sorted((os.fsencode(e.name), e.stat(follow_symlinks=False)) for e in entries)
            nested = bool(folder) and any(name == _GIT for name, _ in listed)
            if nested and folder not in rules.committed_folders:
                found.passed_over.append((show(folder), NESTED))
                return []
            return _sort_in(handle, folder, listed, rules, found)
    except OSError as error:
        found.failed(folder, error)
        return []


def _sort_in(
    handle: int,
    folder: bytes,
    listed: list[tuple[bytes, os.stat_result]],
    rules: Rules,
    found: _Found,
) -> list[bytes]:
    inner = []
    for name, status in listed:
        path = folder + b"/" + name if folder else name
        if name == _GIT or path in rules.ignored or path + b"/" in rules.ignored:
            continue
        reason = _reason_against(path, status)
        if reason:
            found.passed_over.append((show(path), reason))
        elif stat.S_ISDIR(status.st_mode):
            inner.append(path)
        else:
            _take(handle, name, path, rules.hash_name, found)
    return inner


def _reason_against(path: bytes, status: os.stat_result) -> str | None:
    if stat.S_ISLNK(status.st_mode):
        return LINK
    if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
        return SPECIAL
    return name_problem(path)


def _take(folder: int, name: bytes, path: bytes, hash_name: str, found: _Found) -> None:
    try:
        with _opened_file(folder, name) as handle:
            found.files.append(_hashed(handle, path.decode(), hash_name))
    except OSError as error:
        found.failed(path, error)


def _hashed(handle: int, path: str, hash_name: str) -> File:
    before = os.fstat(handle)
    total = _blob_hash(before.st_size, hash_name)
    while chunk := os.read(handle, _CHUNK):
        total.update(chunk)
    after = os.fstat(handle)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise _changed(path)
    return File(path, total.hexdigest(), before.st_size, bool(before.st_mode & stat.S_IXUSR))


def _read_to_end(handle: int, size: int) -> bytes:
    chunks = []
    missing = size + 1  # one more, to notice growth without reading it all
    while missing and (chunk := os.read(handle, min(missing, _CHUNK))):
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)


def _blob_id(content: bytes, hash_name: str) -> str:
    total = _blob_hash(len(content), hash_name)
    total.update(content)
    return total.hexdigest()


def _blob_hash(size: int, hash_name: str) -> "hashlib._Hash":
    return hashlib.new(hash_name, f"blob {size}\0".encode(), usedforsecurity=False)


def _changed(path: str) -> SourceChanged:
    return SourceChanged(
        f"{path} changed while reading",
        hint="try again; a file that changes all the time belongs into .gitignore",
    )


@contextmanager
def _opened_root(root: Path) -> Iterator[int]:
    try:
        handle = os.open(root, _FOLDER_FLAGS)
    except OSError as error:
        raise SourceError(f"{root} can't be read: {error.strerror}") from None
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _opened_folder(top: int, folder: bytes) -> Iterator[int]:
    handle = os.dup(top)
    try:
        for part in folder.split(b"/") if folder else ():
            inner = os.open(part, _FOLDER_FLAGS, dir_fd=handle)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _opened(top: int, path: bytes) -> Iterator[int]:
    folder, _, name = path.rpartition(b"/")
    with _opened_folder(top, folder) as handle, _opened_file(handle, name) as opened:
        yield opened


@contextmanager
def _opened_file(folder: int, name: bytes) -> Iterator[int]:
    handle = os.open(name, _FILE_FLAGS, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.ENXIO, "not a regular file any more")
        yield handle
    finally:
        os.close(handle)
