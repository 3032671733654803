"""Keys name resources everywhere: `deployment/<flow>/<name>`, `block/<type-slug>/<name>`, …."""

from fnmatch import fnmatchcase
from typing import NamedTuple


class Key(NamedTuple):
    """The name of a resource. A tuple, since thousands are hashed and sorted at each turn.

    Attributes:
        kind: the prefix, for example `block` or `deployment`.
        parts: what follows it, for example `("docker-container", "etl")`.
    """

    kind: str
    parts: tuple[str, ...]

    @classmethod
    def of(cls, kind: str, *parts: str) -> "Key":
        """Make a key from its words."""
        return cls(kind, parts)

    @classmethod
    def parse(cls, text: str) -> "Key":
        """Read `kind/part/part`.

        Raises:
            ValueError: if there is nothing behind the kind.
        """
        kind, *parts = text.split("/")
        if not kind or not parts or not all(parts):
            raise ValueError(f"{text!r} is not a key such as deployment/<flow>/<name>")
        return cls(kind, tuple(parts))

    @property
    def name(self) -> str:
        """The last part."""
        return self.parts[-1]

    def renamed(self, name: str) -> "Key":
        """Return the key of its neighbour of another name; `global:` and `tag:` stay."""
        head, colon, _ = self.name.partition(":")
        kept = head + colon if self.kind == "concurrency-limit" else ""
        return Key(self.kind, (*self.parts[:-1], kept + name))

    def matches(self, pattern: str) -> bool:
        """Tell whether a glob such as `deployment/etl/*`, or the key written out, names this key.

        Written out it counts as it stands: deployment names may hold brackets.
        """
        return str(self) == pattern or fnmatchcase(str(self), pattern)

    def __str__(self) -> str:
        return "/".join((self.kind, *self.parts))
