"""Immutable checkouts of snapshots, for the code of flow runs."""

import fcntl
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from weakref import finalize

import anyio.to_thread

from reconciler.model.snapshot import Contents, File, Snapshot
from reconciler.source.folders import state_folder

_UNFINISHED = "unfinished-"
_FOLDER_MODE = 0o555
_FILE_MODE = 0o444
_PROGRAM_MODE = 0o555


@dataclass(frozen=True, slots=True)
class Checkout:
    """All files of a snapshot on disk; nobody may write to them.

    Attributes:
        path: the folder.
        revision: the snapshot's revision.
        digest: the snapshot's digest; snapshots of the same content share a folder.
    """

    path: Path
    revision: str
    digest: str


class Checkouts:
    """The checkouts below a state directory; several processes may share it.

    A checkout is written under a name of its own and renamed when it is complete, so that a
    folder with a digest's name is always whole. Whatever a crash left is swept by the next write.
    What one process has handed out no other one removes: a lock on the folder itself says so, and
    the kernel lifts it when the process ends. Flow runs hold one too (`LaunchSpec.code`), for as
    long as they run: they may outlive the process that launched them.
    """

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "checkouts"
        self._locks: dict[str, int] = {}
        finalize(self, _close, self._locks)

    async def of(self, snapshot: Snapshot) -> Checkout:
        """Return the checkout of a snapshot, written now if it is not there.

        Raises:
            SourceError: a file changed since the snapshot was taken (`SourceChanged`) or can't
                be read.
            OSError: the disk is full or refuses.
        """
        path = await anyio.to_thread.run_sync(self._make, snapshot)
        return Checkout(path, snapshot.revision, snapshot.digest)

    async def retain(self, digests: Collection[str]) -> None:
        """Remove all checkouts but those of the given digests and those of other processes."""
        await anyio.to_thread.run_sync(self._retain, frozenset(map(_name, digests)))

    def _make(self, snapshot: Snapshot) -> Path:
        path = self._folder / _name(snapshot.digest)
        with self._held():
            if not _holds(path, snapshot.files):
                self._let_go(path)
                _remove(path)
                self._write(snapshot, path)
            self._keep(path)
        return path

    def _keep(self, path: Path) -> None:
        if path.name not in self._locks:
            self._locks[path.name] = _locked(path, fcntl.LOCK_SH)

    def _let_go(self, path: Path) -> None:
        descriptor = self._locks.pop(path.name, None)
        if descriptor is not None:
            os.close(descriptor)

    def _write(self, snapshot: Snapshot, path: Path) -> None:
        unfinished = Path(mkdtemp(prefix=_UNFINISHED, dir=self._folder))
        try:
            for file in snapshot.files:
                _write_file(unfinished, file, snapshot.contents)
            for folder, _, _ in os.walk(unfinished):
                Path(folder).chmod(_FOLDER_MODE)
            unfinished.rename(path)
        except BaseException:
            _remove(unfinished)
            raise

    def _retain(self, names: frozenset[str]) -> None:
        with self._held():
            for path in self._folder.iterdir():
                if path.is_dir() and path.name not in names:
                    self._let_go(path)
                    if _is_free(path):
                        _remove(path)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the folder alone. What is unfinished then belongs to nobody alive."""
        state_folder(self._folder)
        with (self._folder / ".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in self._folder.glob(f"{_UNFINISHED}*"):
                _remove(left)
            yield


def _locked(folder: Path, how: int) -> int:
    """Open a folder and lock it.

    Raises:
        BlockingIOError: another one holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _is_free(folder: Path) -> bool:
    try:
        os.close(_locked(folder, fcntl.LOCK_EX))
    except BlockingIOError:
        return False
    return True


def _close(descriptors: dict[str, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)


def _name(digest: str) -> str:
    return digest.replace(":", "-")


def _holds(path: Path, files: Collection[File]) -> bool:
    """Tell whether a folder has exactly these files, by name and size.

    After a power cut a file system may have kept the folder but lost contents.
    """
    found = {
        str(Path(folder, name).relative_to(path)): os.lstat(Path(folder, name)).st_size
        for folder, _, names in os.walk(path)
        for name in names
    }
    return path.is_dir() and found == {file.path: file.size for file in files}


def _write_file(folder: Path, file: File, contents: Contents) -> None:
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(contents.read(file))
    target.chmod(_PROGRAM_MODE if file.executable else _FILE_MODE)


def _remove(path: Path) -> None:
    """Remove a folder, read-only ones inside it too. The name goes first: no half checkout stays."""
    if not path.is_dir():
        return
    doomed = path
    if not path.name.startswith(_UNFINISHED):
        doomed = path.rename(path.with_name(f"{_UNFINISHED}{path.name}"))
    for folder, _, _ in os.walk(doomed):
        Path(folder).chmod(0o700)
    shutil.rmtree(doomed)
