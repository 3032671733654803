"""A block's data as a document says it."""

from collections.abc import Mapping

from reconciler.model.values import Ref, UnknownRef, Value


def told(data: Mapping[str, Value]) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Return normalised data with `$ref` for each reference, and what can't be said.

    Args:
        data: without defaults, as `blocks.data.normalise` gives it.
    """
    found: dict[str, Value] = {}
    notes = []
    for name, value in data.items():
        if isinstance(value, UnknownRef):
            notes.append(f"{name} refers to a block without a name; declare one and refer to it")
        elif isinstance(value, Ref):
            found[name] = {"$ref": "/".join(value.key.parts)}
        else:
            found[name] = value
    return found, tuple(notes)
