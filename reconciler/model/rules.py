"""What planning must know of a kind, as data: planning imports no kind."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from reconciler.model.keys import Key
from reconciler.model.values import Fields, Value


@dataclass(frozen=True, slots=True)
class FieldRule:
    """A top-level field of a kind on one server version.

    Attributes:
        default: the normalised value it returns to when git stops declaring it.
        released: when git stops declaring it, it is left as it is (`paused`).
        immutable: it can't be changed; a difference means delete and create again.
    """

    default: Value = None
    released: bool = False
    immutable: bool = False


@dataclass(frozen=True, slots=True)
class Follows:
    """That objects of a kind need one of another kind, which they name without a reference.

    Attributes:
        kind: prefix of the other one's key.
        parts: of its key: names of own fields, or `#0` for the first part of the own key.
    """

    kind: str
    parts: tuple[str, ...]

    def key(self, own: Key, fields: Fields) -> Key | None:
        """Return the key of what an object needs; None if it names none."""
        found = [
            own.parts[int(part[1:])] if part.startswith("#") else fields.get(part)
            for part in self.parts
        ]
        words = tuple(word for word in found if isinstance(word, str) and word)
        return Key(self.kind, words) if len(words) == len(self.parts) else None


@dataclass(frozen=True, slots=True)
class KindRules:
    """The field table of a kind, and what a write to it disturbs.

    Attributes:
        fields: by name.
        write_effects: said for each update, for people ("its auto-scheduled runs are rewritten").
        follows: what must be there before an object of the kind is written.
        renames: glob over the keys of objects that the API can rename.
        left_behind: what becomes of what hangs on an object that it can't rename, for people.
    """

    fields: Mapping[str, FieldRule] = field(default_factory=dict)
    write_effects: tuple[str, ...] = ()
    follows: tuple[Follows, ...] = ()
    renames: str = ""
    left_behind: str = ""

    def needed(self, own: Key, fields: Fields) -> Iterator[Key]:
        """Yield the keys of what an object needs without a reference to it."""
        for each in self.follows:
            key = each.key(own, fields)
            if key is not None:
                yield key
