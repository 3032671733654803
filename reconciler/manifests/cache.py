"""What files declare, by path and blob: of a changed tree, only changed files are read again."""

from collections import OrderedDict
from dataclasses import dataclass

from reconciler.manifests.validate import Declared
from reconciler.model.problems import Problem

_MOST = 1_000_000  # values; about 500 bytes each


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of a file.

    Attributes:
        declared: what it declares.
        problems: what is wrong with it.
        patches: numbers of the environment's patches that its documents were selected by.
        weight: about the number of values.
    """

    declared: tuple[Declared, ...] = ()
    problems: tuple[Problem, ...] = ()
    patches: frozenset[int] = frozenset()
    weight: int = 1


class ReadCache:
    """Least recently used readings, bounded by the number of values in them.

    What a file declares depends on the policy, too: readings under another one are forgotten. Use
    one cache for one set of limits and kinds. Files that use secrets don't belong here, since
    secrets change without them.
    """

    def __init__(self, most: int = _MOST) -> None:
        """Make one.

        Args:
            most: values.
        """
        self._most = most
        self._context = ""
        self._readings: OrderedDict[tuple[str, str], Reading] = OrderedDict()
        self._weight = 0

    def under(self, context: str) -> None:
        """Forget everything unless it was read under the same circumstances."""
        if context != self._context:
            self._context = context
            self._readings.clear()
            self._weight = 0

    def get(self, path: str, blob: str) -> Reading | None:
        """Return what became of a file, if it was read before."""
        found = self._readings.get((path, blob))
        if found is not None:
            self._readings.move_to_end((path, blob))
        return found

    def put(self, path: str, blob: str, reading: Reading) -> None:
        """Remember what became of a file, and forget the oldest when there are too many."""
        if (path, blob) in self._readings:
            return
        self._readings[path, blob] = reading
        self._weight += reading.weight
        while self._weight > self._most:
            _, oldest = self._readings.popitem(last=False)
            self._weight -= oldest.weight
