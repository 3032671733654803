"""What files declare, by path and blob: of a changed tree, only changed files are read again."""

from collections.abc import Collection
from dataclasses import dataclass

from reconciler.manifests.validate import Declared
from reconciler.model.problems import Problem


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


class ReadCache:
    """The last reading of each file of one tree: what is kept is no more than the tree itself.

    What a file declares depends on the policy, too: readings under another one are forgotten. Use
    one cache for one set of limits and kinds. Files that use secrets don't belong here, since
    secrets change without them.
    """

    def __init__(self) -> None:
        self._context = ""
        self._readings: dict[str, tuple[str, Reading]] = {}

    def under(self, context: str) -> None:
        """Forget everything unless it was read under the same circumstances."""
        if context != self._context:
            self._context = context
            self._readings.clear()

    def get(self, path: str, blob: str) -> Reading | None:
        """Return what became of a file, if it was what was read last under this path."""
        read, reading = self._readings.get(path, (None, None))
        return reading if read == blob else None

    def put(self, path: str, blob: str, reading: Reading) -> None:
        """Remember what became of a file, in place of what was at its path before."""
        self._readings[path] = blob, reading

    def retain(self, paths: Collection[str]) -> None:
        """Forget the files that a tree has no more."""
        for path in self._readings.keys() - paths:
            del self._readings[path]
