"""What planning must know of a kind, as data: planning imports no kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.model.values import Value


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
class KindRules:
    """The field table of a kind, and what a write to it disturbs.

    Attributes:
        fields: by name.
        write_effects: said for each update, for people ("its auto-scheduled runs are rewritten").
    """

    fields: Mapping[str, FieldRule] = field(default_factory=dict)
    write_effects: tuple[str, ...] = ()
