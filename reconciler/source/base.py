"""What a source is."""

from typing import Protocol

from reconciler.errors import SourceError
from reconciler.model.snapshot import Snapshot


class SourceChanged(SourceError):  # noqa: N818 - it reads as the sentence it is
    """A file changed between listing and reading: fetch again."""


class Source(Protocol):
    """A place that manifests come from."""

    async def fetch(self) -> Snapshot:
        """Return the tree as it is now.

        Raises:
            SourceError: it can't be read as given; the user must mend something.
            SourceUnavailable: the remote does not answer; this passes by itself.
        """
        ...


class RememberingSource(Source, Protocol):
    """A source that still has what it gave last when the place itself does not answer."""

    async def last_good(self) -> Snapshot | None:
        """Return the last tree that was fetched, by an earlier process too.

        Raises:
            SourceError: it can't be read.
        """
        ...
