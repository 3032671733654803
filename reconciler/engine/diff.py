"""Where two field trees differ, and how a difference is shown without a secret in it.

Equality is that of fingerprints; deepdiff only locates the leaf paths inside a field that differs.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from reconciler.model import paths
from reconciler.model.fingerprint import Fingerprinter, same
from reconciler.model.values import (
    ABSENT,
    Absent,
    Masked,
    Ref,
    Secret,
    UnknownRef,
    Value,
    contains_masked,
    contains_secret,
    join,
)

SECRET = "<secret>"  # noqa: S105 - what is shown instead of one
SECRET_CHANGED = "<secret, changed>"  # noqa: S105
_SHORTEST = 6  # shorter secret texts occur by chance in other values


def differing(
    before: Mapping[str, Value], after: Mapping[str, Value], fingerprinter: Fingerprinter
) -> tuple[tuple[str, ...], ...]:
    """Return the keys of every leaf path at which two trees differ, sorted.

    Mappings are descended into, lists are not.
    """
    if same(before, after):
        return ()
    from deepdiff import DeepDiff  # noqa: PLC0415 - a start that needs none of it is quicker

    found = DeepDiff(
        _tree(paths.opened(before), fingerprinter),
        _tree(paths.opened(after), fingerprinter),
        view="tree",
        ignore_private_variables=False,  # `__prefect_kind` counts
        threshold_to_diff_deeper=0,  # else it gives up on mappings with little in common
    )
    return tuple(sorted({keys for group in found.values() for keys in _located(group)}))


def _tree(value: Value, fingerprinter: Fingerprinter) -> dict[str, Any] | str:
    if isinstance(value, Mapping):
        return {key: _tree(inner, fingerprinter) for key, inner in value.items()}
    return fingerprinter.of(value)


def _located(group: Iterable[Any]) -> Iterator[tuple[str, ...]]:
    for level in group:
        keys = tuple(level.path(output_format="list"))
        if isinstance(level.t1, str) or isinstance(level.t2, str):
            yield keys
        else:  # a whole mapping came or went: name its leaves
            yield from _leaf_keys(level.t1 if isinstance(level.t1, dict) else level.t2, keys)


def _leaf_keys(tree: Any, keys: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(tree, dict) and tree:
        for key, inner in tree.items():
            yield from _leaf_keys(inner, (*keys, key))
    else:
        yield keys


def settle(
    after: Value, before: Value, path: str, *, trusted: Callable[[str], bool]
) -> tuple[Value, Value]:
    """Make equal what can't be compared: secrets that may not be read, on either side.

    Args:
        after: what git wants.
        before: what is live.
        path: where both stand.
        trusted: whether a live secret that can't be read is what git wants, by its path.

    Returns:
        Both sides, opened (`paths.opened`), in the order of the arguments.
    """
    after, before = paths.opened(after), paths.opened(before)
    if isinstance(after, Mapping) and isinstance(before, Mapping):
        keys = [*after, *(key for key in before if key not in after)]
        pairs = {
            key: settle(
                after.get(key, ABSENT), before.get(key, ABSENT), join(path, key), trusted=trusted
            )
            for key in keys
        }
        return (
            {key: pair[0] for key, pair in pairs.items() if pair[0] is not ABSENT},
            {key: pair[1] for key, pair in pairs.items() if pair[1] is not ABSENT},
        )
    if contains_masked(after):  # --no-secrets: not compared
        return before, before
    if contains_masked(before) and after is not ABSENT and trusted(path):
        return after, after
    return after, before


def shown(value: Value, other: Value, *, secret: bool) -> Any:
    """Return what people may see of one side of a difference.

    Args:
        value: the side to show.
        other: the side before it (for the live side: itself).
        secret: whether the path holds, or ever held, a secret on either side.
    """
    if isinstance(value, Absent):
        return ABSENT
    if secret or contains_secret(value):
        return SECRET if isinstance(other, Absent) or same(value, other) else SECRET_CHANGED
    return plain(value)


def plain(value: Value) -> Any:
    """Turn a value without secrets into JSON for people; references become text."""
    if isinstance(value, Secret | Masked):
        return SECRET
    if isinstance(value, Ref | UnknownRef):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


class Known:
    """Secret texts that a resource holds somewhere: none may be shown anywhere else either."""

    __slots__ = ("_texts",)

    def __init__(self, *trees: Value) -> None:
        self._texts = frozenset(
            text for tree in trees for text in _secret_texts(tree) if len(text) >= _SHORTEST
        )

    def inside(self, value: Value) -> bool:
        """Tell whether a value shows one of them."""
        return bool(self._texts) and any(
            secret in text for text in _texts(value) for secret in self._texts
        )

    def __repr__(self) -> str:
        return "Known()"


def _secret_texts(value: Value) -> Iterator[str]:
    if isinstance(value, Secret):
        yield from _texts(value.reveal())
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _secret_texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secret_texts(inner)


def _texts(value: Value) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield json.dumps(value)
