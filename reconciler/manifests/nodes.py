"""A YAML document as read: plain JSON values with the mark of each of them."""

from collections.abc import Iterator, Mapping
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
    """The places of a document by path, looked up in its nodes when asked for."""

    def __init__(self, file: str, root: Node) -> None:
        self._file = file
        self._root = root

    def __getitem__(self, path: Path) -> Place:
        mark, node = self._root.mark, self._root
        for step in path:
            mark, node = _step(node, step)
        return mark.place(self._file)

    def __iter__(self) -> Iterator[Path]:
        yield ()
        yield from _paths(self._root, ())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _step(node: Node, step: str | int) -> tuple[Mark, Node]:
    if isinstance(node.items, dict) and isinstance(step, str):
        entry = node.items[step]
        return entry.mark, entry.node
    if isinstance(node.items, list) and isinstance(step, int) and 0 <= step < len(node.items):
        return node.items[step].mark, node.items[step]
    raise KeyError(step)


def _paths(node: Node, path: Path) -> Iterator[Path]:
    for step, inner in _parts(node):
        yield (*path, step)
        yield from _paths(inner, (*path, step))


def _parts(node: Node) -> Iterator[tuple[str | int, Node]]:
    if isinstance(node.items, dict):
        for key, entry in node.items.items():
            yield key, entry.node
    else:
        yield from enumerate(node.items or ())
