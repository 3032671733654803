"""Snapshots in memory."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.model.snapshot import File, Origin, Snapshot


@dataclass
class MemoryContents:
    """The bytes of files, and which of them were read."""

    data: dict[str, bytes]
    read_paths: list[str] = field(default_factory=list)

    def read(self, file: File) -> bytes:
        self.read_paths.append(file.path)
        return self.data[file.path]


def tree(
    files: Mapping[str, str | bytes],
    *,
    revision: str = "abc123",
    links: tuple[tuple[str, str], ...] = (),
    sizes: Mapping[str, int] | None = None,
) -> Snapshot:
    """Return a snapshot of files; `sizes` lies about the size of some."""
    data = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    listed = tuple(
        File(path, blob_id(content), (sizes or {}).get(path, len(content)))
        for path, content in sorted(data.items())
    )
    digest = hashlib.sha256(repr(listed).encode()).hexdigest()
    return Snapshot(
        revision,
        f"sha256:{digest}",
        listed,
        Origin(),
        MemoryContents(data),
        passed_over=links,
        commit=revision,
    )


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
