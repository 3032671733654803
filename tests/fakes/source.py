"""Sources and contents without a disk, and a clock that only moves when somebody sleeps."""

from datetime import UTC, datetime, timedelta
from hashlib import sha1

from reconciler.errors import SourceError
from reconciler.model.snapshot import File, Origin, Snapshot
from reconciler.source.tree import digest

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryContents:
    """Contents from memory, by blob id."""

    def __init__(self, blobs):
        self.blobs = dict(blobs)

    def read(self, file):
        if file.blob not in self.blobs:
            raise SourceError(f"{file.path} is gone")
        return self.blobs[file.blob]


def blob_id(content):
    return sha1(b"blob %d\0" % len(content) + content).hexdigest()


def snapshot_of(files, *, revision="1" * 40, executable=()):
    """Make a snapshot from a mapping of path to text or bytes."""
    raw = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    listed = tuple(
        File(path, blob_id(content), len(content), path in executable)
        for path, content in sorted(raw.items())
    )
    contents = MemoryContents({blob_id(content): content for content in raw.values()})
    return Snapshot(revision, digest(listed), listed, Origin(), contents)


class ScriptedSource:
    """Gives one snapshot after the other; the last one for ever. An exception is raised."""

    def __init__(self, *snapshots):
        self.snapshots = list(snapshots)
        self.fetches = 0

    async def fetch(self):
        self.fetches += 1
        found = self.snapshots.pop(0) if len(self.snapshots) > 1 else self.snapshots[0]
        if isinstance(found, Exception):
            raise found
        return found


class SleepingClock:
    """Moves only by being slept on."""

    def __init__(self):
        self.elapsed = 0.0

    def now(self):
        return EPOCH + timedelta(seconds=self.elapsed)

    def monotonic(self):
        return self.elapsed

    async def sleep(self, seconds):
        self.elapsed += seconds
