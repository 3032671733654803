"""The door to watchfiles: tells when a directory changed; and when a file is really gone."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from watchfiles import Change, awatch

from reconciler.errors import SourceError
from reconciler.model.snapshot import Snapshot
from reconciler.runtime.clock import Clock
from reconciler.source.base import Source

_QUIET_MS = 50  # editors write in bursts: wait for this long a pause, but no longer than _BURST_MS
_BURST_MS = 400
_LOOK_MS = 500  # how often the directory itself is looked after; no stop takes longer either
_GONE_AFTER = 2.0  # DESIGN 6.7
_LOOK_AGAIN = 0.25
_PATIENCE = 10.0
_NOISE = frozenset({"__pycache__", "node_modules"})


async def changes(path: Path) -> AsyncIterator[None]:
    """Yield each time when something below a directory changed, bursts as one.

    Dot folders (`.git`, `.venv`) and caches are not looked at, since no manifest is in them. A
    directory that is replaced by another of its name is watched on.

    Raises:
        SourceError: the directory is gone, or the system can watch no more files.
    """
    while True:
        root = path.resolve()  # noqa: ASYNC240 - one system call
        identity = _identity(root)
        async with aclosing(_watch(root)) as told:
            async for changed in told:
                if changed:
                    yield
                if _identity(root) != identity:
                    break
        yield


async def _watch(root: Path) -> AsyncGenerator[bool]:
    """Yield True after changes, and False every few seconds without any."""

    def matters(_change: Change, changed: str) -> bool:
        return _matters(Path(changed), root)

    try:
        async for found in awatch(
            root,
            watch_filter=matters,
            debounce=_BURST_MS,
            step=_QUIET_MS,
            rust_timeout=_LOOK_MS,
            yield_on_timeout=True,
            ignore_permission_denied=True,
        ):
            yield bool(found)
    except OSError as error:
        raise SourceError(
            f"{root} can't be watched: {error.strerror or error}",
            hint="look at the limit fs.inotify.max_user_watches",
        ) from None


def _identity(root: Path) -> tuple[int, int]:
    """Tell directories of one name apart. A watch on a missing one would be silent for ever."""
    try:
        found = root.stat()
    except OSError as error:
        raise SourceError(f"{root} can't be watched: {error.strerror}") from None
    return found.st_dev, found.st_ino


def _matters(changed: Path, root: Path) -> bool:
    if not changed.is_relative_to(root):
        return False
    folders = changed.relative_to(root).parts[:-1]
    return not any(part.startswith(".") or part in _NOISE for part in folders)


class Absences:
    """Which of the files that were known are missing, and since when."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = frozenset(known)
        self._since: dict[str, float] = {}

    def look(self, present: Iterable[str], now: float) -> bool:
        """Take a scan into account and tell whether all absences are certain.

        Args:
            present: the files that the scan found.
            now: when it was made, in seconds.
        """
        missing = self._known.difference(present)
        self._since = {path: self._since.get(path, now) for path in missing}
        return all(now - since >= _GONE_AFTER for since in self._since.values())


class StableSource:
    """A watched source whose files count as gone only after two scans two seconds apart.

    Editors save by renaming: for a moment the file is missing (DESIGN 6.7). Where a file is
    missing the scan is repeated until it is back or surely gone. Where files come and go all the
    time the snapshot is given out as not verified, so that nothing is deleted.
    """

    def __init__(self, inner: Source, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._known: frozenset[str] = frozenset()

    async def fetch(self) -> Snapshot:
        """Return the tree once it is certain which files are gone.

        Raises:
            SourceError: as the inner source does.
        """
        absences = Absences(self._known)
        start = self._clock.monotonic()
        snapshot = await self._inner.fetch()
        while not absences.look(_paths(snapshot), self._clock.monotonic()):
            if self._clock.monotonic() - start > _PATIENCE:
                return replace(snapshot, verified=False)
            await self._clock.sleep(_LOOK_AGAIN)
            snapshot = await self._inner.fetch()
        self._known = _paths(snapshot)
        return snapshot


def _paths(snapshot: Snapshot) -> frozenset[str]:
    return frozenset(file.path for file in snapshot.files)
