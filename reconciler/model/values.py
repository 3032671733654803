"""The value trees that manifests declare and servers hold: JSON, with secrets and references as leaves.

A field path is dotted through mappings, `data.env.A`; a key with a dot is written `["a.b"]`;
a list is one field and has no inner paths.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn, TypeGuard

from reconciler.model.keys import Key


class Secret:
    """A value that cannot be printed, compared, hashed, serialised or stored.

    Only `reveal()` gives it, for the request that carries it to Prefect, and
    `reconciler.model.fingerprint.Fingerprinter`, which turns it into a keyed fingerprint.
    The value may be a whole tree: a secret can be a mapping (`service_account_info`).
    """

    __slots__ = ("_value", "names")

    def __init__(self, value: object, *names: str) -> None:
        self._value = value
        self.names = names

    def reveal(self) -> object:
        """Return the value. Call it only where it leaves for Prefect or a platform."""
        return self._value

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("secrets are compared in `reconciler.model.fingerprint` only")

    def __hash__(self) -> NoReturn:
        raise TypeError("a secret cannot be hashed")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be stored")


class Masked:
    """What the API shows of a secret to whoever may not read it: eight stars."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<masked>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Masked)

    def __hash__(self) -> int:
        return hash(Masked)


MASKED = Masked()


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to another resource, by key; the id is found when it is written."""

    key: Key

    def __str__(self) -> str:
        return f"→ {self.key}"


@dataclass(frozen=True, slots=True)
class UnknownRef:
    """A live reference whose target has no key (an anonymous block document, say)."""

    id: str

    def __str__(self) -> str:
        return f"→ {self.id}"


Scalar = str | int | float | bool | None
Value = object  # Scalar | Secret | Masked | Ref | UnknownRef | list[Value] | dict[str, Value]
Fields = Mapping[str, Value]


class Absent:
    """Stands where a path has no value, since null is one."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<absent>"


ABSENT = Absent()
_LEAVES = frozenset({str, int, bool, float, type(None), list})


def is_mapping(value: Value) -> TypeGuard[Mapping[str, Value]]:
    """Tell whether a value is a mapping.

    Asked for each leaf of each resource, and an abstract class answers ten times as slowly as this.
    """
    kind = type(value)
    return kind is dict or (kind not in _LEAVES and isinstance(value, Mapping))


@lru_cache(maxsize=8192)
def join(path: str, key: str) -> str:
    """Append a mapping key to a field path; thousands of equal ones share their memory."""
    plain = key.replace("_", "a").replace("-", "a").replace("/", "a").isalnum()
    if plain:
        return sys.intern(f"{path}.{key}") if path else key
    return sys.intern(f'{path}["{key}"]')


def leaves(value: Value, path: str = "") -> Iterator[tuple[str, Value]]:
    """Yield every (field path, leaf); a list, a secret and an empty mapping are leaves."""
    if is_mapping(value) and value:
        for key, inner in value.items():
            yield from leaves(inner, join(path, str(key)))
    else:
        yield path, value


def references(value: Value) -> Iterator[Ref]:
    """Yield every reference in a tree."""
    if isinstance(value, Ref):
        yield value
    elif is_mapping(value):
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from references(inner)


def contains_masked(value: Value) -> bool:
    """Tell whether a tree holds a secret that could not be read, or was not to be."""
    if is_mapping(value):
        return any(contains_masked(inner) for inner in value.values())
    if isinstance(value, list | tuple):
        return any(contains_masked(inner) for inner in value)
    return isinstance(value, Masked)


def contains_secret(value: Value) -> bool:
    """Tell whether a secret stands anywhere in a tree."""
    if isinstance(value, Secret | Masked):
        return True
    if is_mapping(value):
        return any(contains_secret(inner) for inner in value.values())
    return isinstance(value, list | tuple) and any(contains_secret(inner) for inner in value)


def revealed(value: Value) -> Value:
    """Return a tree with its secrets in the open, for a check that keeps nothing."""
    if isinstance(value, Secret):
        return revealed(value.reveal())
    if is_mapping(value):
        return {key: revealed(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [revealed(inner) for inner in value]
    return value


def rewrap(original: Value, plain: Value) -> Value:
    """Make secret again, in a normalised copy of a tree, what was secret in the original."""
    if isinstance(original, Secret):
        return Secret(plain, *original.names)
    if not contains_secret(original):
        return plain
    if isinstance(original, Mapping) and isinstance(plain, Mapping):
        return {key: rewrap(original.get(key), inner) for key, inner in plain.items()}
    if isinstance(original, list) and isinstance(plain, list) and len(original) == len(plain):
        return [rewrap(old, new) for old, new in zip(original, plain, strict=True)]
    return Secret(plain)
