"""Live objects as documents."""

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model.keys import Key
from reconciler.model.values import Value


@dataclass(frozen=True, slots=True)
class Exported:
    """A live object as a manifest would declare it, what is default left out.

    Attributes:
        key: its name.
        document: the whole document; a leaf that is `Masked` stands where a secret belongs.
        notes: what the document can't say, for people.
    """

    key: Key
    document: Mapping[str, Value]
    notes: tuple[str, ...] = ()
