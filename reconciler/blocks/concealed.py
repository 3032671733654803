"""Secret fields of a block's data: where they are, and how they stay `Secret`."""

from collections.abc import Iterable, Iterator, Mapping

from reconciler.model.values import MASKED, Masked, Ref, Secret, UnknownRef, Value, revealed

STARS = "********"
"""What Prefect shows instead of a secret. Sent back, it means 'keep the secret you have'."""

_WILDCARD = "*"


def conceal(data: Mapping[str, Value], secret_fields: Iterable[str]) -> dict[str, Value]:
    """Wrap what stands at secret fields into `Secret`; eight stars become MASKED.

    Args:
        data: a block's data.
        secret_fields: dotted paths as in Prefect's schemas; `a.*` makes the whole of `a` one
            secret, so that both sides of a comparison have the same leaves.
    """
    made: Value = dict(data)
    for path in secret_fields:
        made = _conceal_at(made, _steps(path))
    return made if isinstance(made, dict) else {}


def starred(data: Mapping[str, Value], secret_fields: Iterable[str]) -> Iterator[str]:
    """Yield the secret fields at which eight stars were written: the API can't hold those."""
    for path in secret_fields:
        value = _look_up(data, _steps(path))
        if any(leaf == STARS for leaf in _plain_leaves(value)):
            yield ".".join(_steps(path))


def _steps(path: str) -> tuple[str, ...]:
    steps = path.split(".")
    return tuple(steps[: steps.index(_WILDCARD)] if _WILDCARD in steps else steps)


def _conceal_at(value: Value, steps: tuple[str, ...]) -> Value:
    if not steps:
        return _concealed(value)
    if not isinstance(value, Mapping) or steps[0] not in value:
        return value
    return {**value, steps[0]: _conceal_at(value[steps[0]], steps[1:])}


def _concealed(value: Value) -> Value:
    if value is None or isinstance(value, Secret | Masked | Ref | UnknownRef):
        return value
    if any(leaf == STARS or isinstance(leaf, Masked) for leaf in _plain_leaves(value)):
        return MASKED
    return Secret(revealed(value))


def _look_up(value: Value, steps: tuple[str, ...]) -> Value:
    for step in steps:
        if isinstance(value, Secret):
            value = value.reveal()
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value


def _plain_leaves(value: Value) -> Iterator[Value]:
    if isinstance(value, Secret):
        yield from _plain_leaves(value.reveal())
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _plain_leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _plain_leaves(inner)
    elif not isinstance(value, Ref | UnknownRef):
        yield value
