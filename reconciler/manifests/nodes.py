"""A YAML document as read: plain JSON values with the mark of each of them."""

from collections.abc import ItemsView, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.model.places import Place
from reconciler.model.problems import Problem, Severity

Path = tuple[str | int, ...]


@dataclass(frozen=True, order=True, slots=True)
class Mark:
    """Line and column, both from 1."""

    line: int = 1
    column: int = 1

    def place(self, file: str) -> Place:
        """Return the place in a file."""
        return Place(file, self.line, self.column)


@dataclass(frozen=True, slots=True)
class Flaw:
    """A problem of a file's content, whatever the file is called.

    Attributes:
        mark: where it is.
        message: what is wrong.
        hint: what to do.
        first: the other place of a pair (a key that stands twice).
    """

    mark: Mark
    message: str
    hint: str | None = None
    first: Mark | None = None

    def problem(self, file: str, severity: Severity = Severity.ERROR) -> Problem:
        """Return the problem in a file."""
        more = "" if self.first is None else f", first at {self.first.place(file)}"
        return Problem(self.mark.place(file), self.message + more, self.hint, severity)


@dataclass(slots=True)
class Node:
    """A value with its mark. Made once, shared by aliases and by the cache: never change one.

    Attributes:
        mark: where the value starts.
        value: the whole value as plain JSON.
        items: its parts: by key for a mapping, in order for a list, None for a scalar.
        weight: what it costs when every alias is written out; about 1 a value.
        dynamic: whether `${{` stands in any text of it.
    """

    mark: Mark
    value: Any
    items: "dict[str, Entry] | list[Node] | None" = None
    weight: int = 1
    dynamic: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's mark and what stands behind it."""

    mark: Mark
    node: Node


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds.

    Attributes:
        documents: the roots, empty documents left out.
        flaws: what is wrong with it.
    """

    documents: tuple[Node, ...] = ()
    flaws: tuple[Flaw, ...] = ()

    @property
    def weight(self) -> int:
        """About the number of values."""
        return 1 + sum(node.weight for node in self.documents)


class Places(Mapping[Path, Place]):
    """The places of a document by path: single ones are looked up, all of them only when asked for."""

    def __init__(self, file: str, root: Node) -> None:
        self._file = file
        self._root = root

    def __getitem__(self, path: Path) -> Place:
        mark, node = self._root.mark, self._root
        for step in path:
            mark, node = _step(node, step)
        return mark.place(self._file)

    def __iter__(self) -> Iterator[Path]:
        return iter(self._each())

    def __len__(self) -> int:
        return len(self._each())

    def items(self) -> ItemsView[Path, Place]:
        """Return all places with their paths, found in one walk."""
        return self._each().items()

    def _each(self) -> dict[Path, Place]:
        """Find all of them; they are not kept, since many documents stay in memory."""
        found: dict[Path, Place] = {(): self._root.mark.place(self._file)}
        found.update((path, mark.place(self._file)) for path, mark in _marks(self._root, ()))
        return found


def _step(node: Node, step: str | int) -> tuple[Mark, Node]:
    if isinstance(node.items, dict) and isinstance(step, str):
        entry = node.items[step]
        return entry.mark, entry.node
    if isinstance(node.items, list) and isinstance(step, int) and 0 <= step < len(node.items):
        return node.items[step].mark, node.items[step]
    raise KeyError(step)


def _marks(node: Node, path: Path) -> Iterator[tuple[Path, Mark]]:
    for step, mark, inner in _parts(node):
        yield (*path, step), mark
        yield from _marks(inner, (*path, step))


def _parts(node: Node) -> Iterator[tuple[str | int, Mark, Node]]:
    if isinstance(node.items, dict):
        for key, entry in node.items.items():
            yield key, entry.mark, entry.node
    else:
        for index, item in enumerate(node.items or ()):
            yield index, item.mark, item
