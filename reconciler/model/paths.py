"""Finding, replacing and comparing places inside a value tree, by field path."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from reconciler.model.values import ABSENT, MASKED, Secret, Value, is_mapping, join, leaves

_WORD = re.compile(r'\["(.*?)"\]|([^.\[\]]+)')


def split(path: str) -> tuple[str, ...]:
    """Return the keys of a field path: `job_variables["env.A"]` has two."""
    return tuple(quoted or plain for quoted, plain in _WORD.findall(path))


def spell(keys: Sequence[str]) -> str:
    """Return the field path of some keys; the reverse of `split`."""
    path = ""
    for key in keys:
        path = join(path, key)
    return path


def within(path: str, around: str) -> bool:
    """Tell whether a path is another one or lies inside it."""
    return path == around or path.startswith((f"{around}.", f"{around}["))


def related(path: str, other: str) -> bool:
    """Tell whether one of two paths lies inside the other."""
    return within(path, other) or within(other, path)


def at(tree: Value, keys: Sequence[str]) -> Value:
    """Return what stands at a place, ABSENT if nothing does."""
    for key in keys:
        if not isinstance(tree, Mapping) or key not in tree:
            return ABSENT
        tree = tree[key]
    return tree


def put(tree: Value, keys: Sequence[str], value: Value) -> Value:
    """Return a copy of a tree with another value at a place; ABSENT takes it out.

    Mappings on the way are made where they are missing.
    """
    if not keys:
        return value
    inner = dict(tree) if isinstance(tree, Mapping) else {}
    key, rest = keys[0], keys[1:]
    if value is ABSENT and key not in inner:
        return tree
    replaced = put(inner.get(key, {}), rest, value)
    if replaced is ABSENT:
        inner.pop(key)
    else:
        inner[key] = replaced
    return inner


def opened(value: Value) -> Value:
    """Turn secrets that are mappings into mappings of secrets, so that trees have one shape."""
    if isinstance(value, Secret):
        revealed = value.reveal()
        if not isinstance(revealed, Mapping):
            return value
        return {str(key): opened(Secret(inner, *value.names)) for key, inner in revealed.items()}
    if is_mapping(value):
        return {str(key): opened(inner) for key, inner in value.items()}
    return value


def leaf_paths(fields: Mapping[str, Value]) -> Iterator[tuple[str, Value]]:
    """Yield (field path, leaf) of top-level fields, secrets that are mappings opened."""
    for name, value in fields.items():
        yield from leaves(opened(value), join("", name))


def veiled(value: Value, secret: Collection[str], path: str = "") -> Value:
    """Return a copy of a tree that shows only a mask at the paths that are secret, and inside them."""
    if any(within(path, one) for one in secret):
        return MASKED
    if isinstance(value, Mapping) and any(within(one, path) or not path for one in secret):
        return {key: veiled(inner, secret, join(path, str(key))) for key, inner in value.items()}
    return value
