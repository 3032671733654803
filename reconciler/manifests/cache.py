"""What files declare, by path and blob: of a changed tree, only changed files are read again."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from reconciler.manifests.validate import Declared
from reconciler.model.problems import Problem

_SHARE = 1 / 20


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of a file.

    Attributes:
        declared: what it declares.
        problems: what is wrong with it.
        patches: numbers of the environment's patches that its documents were selected by.
    """

    declared: tuple[Declared, ...] = ()
    problems: tuple[Problem, ...] = ()
    patches: frozenset[int] = frozenset()


Readings = Mapping[str, tuple[str, Reading]]
"""Blob and reading by path."""


class Store(Protocol):
    """Where readings outlive the process. What fails there is as if nothing were kept."""

    def load(self, context: str) -> Readings:
        """Return what was kept of trees that were read under the same circumstances."""
        ...

    def save(self, context: str, readings: Readings) -> None:
        """Keep the readings of a tree."""
        ...


class ReadCache:
    """The last reading of each file of one tree: what is kept is no more than the tree itself.

    What a file declares depends on the policy, too: readings under another one are forgotten. Use
    one cache for one set of limits and kinds. Files that use secrets don't belong here, since
    secrets change without them.
    """

    def __init__(self, store: Store | None = None) -> None:
        """Make an empty one.

        Args:
            store: what earlier processes have read, and later ones shall know.
        """
        self._context: str | None = None
        self._readings: dict[str, tuple[str, Reading]] = {}
        self._store = store
        self._new = 0

    def under(self, context: str) -> None:
        """Forget everything unless it was read under the same circumstances."""
        if context != self._context:
            self._context = context
            self._readings = {} if self._store is None else dict(self._store.load(context))
            self._new = 0

    def get(self, path: str, blob: str) -> Reading | None:
        """Return what became of a file, if it was what was read last under this path."""
        read, reading = self._readings.get(path, (None, None))
        return reading if read == blob else None

    def put(self, path: str, blob: str, reading: Reading) -> None:
        """Remember what became of a file, in place of what was at its path before."""
        self._readings[path] = blob, reading
        self._new += 1

    def retain(self, paths: Collection[str]) -> None:
        """Forget the files that a tree has no more; keep the others once enough of them are new.

        A changed file among thousands is read again by the next process in no time; to write them
        all down for it would take longer.
        """
        for path in self._readings.keys() - paths:
            del self._readings[path]
        if self._store is not None and self._new > len(self._readings) * _SHARE:
            self._store.save(self._context or "", self._readings)
            self._new = 0
