"""Parse results by blob id: of a changed tree, only changed files are read again."""

from collections import OrderedDict

from reconciler.manifests.nodes import Content

_MOST = 1_000_000  # values; about 500 bytes each


class ParseCache:
    """Least recently used contents, bounded by the number of values in them.

    Use one for one set of limits: they are not part of the key.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._contents: OrderedDict[str, Content] = OrderedDict()
        self._weight = 0

    def get(self, blob: str) -> Content | None:
        """Return what a blob holds, if it was read before."""
        found = self._contents.get(blob)
        if found is not None:
            self._contents.move_to_end(blob)
        return found

    def put(self, blob: str, content: Content) -> None:
        """Remember what a blob holds, and forget the oldest when there are too many."""
        if blob in self._contents:
            return
        self._contents[blob] = content
        self._weight += content.weight
        while self._weight > self._most:
            _, oldest = self._contents.popitem(last=False)
            self._weight -= oldest.weight
