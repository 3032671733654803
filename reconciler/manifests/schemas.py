"""JSON Schemas of the manifests, for editors (`reconciler schema`)."""

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.errors import UsageError
from reconciler.kinds.base import Kind
from reconciler.manifests.options import KEY, ReconcileOptions
from reconciler.model.near import did_you_mean
from reconciler.model.policy import Policy

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_POLICY = "Policy"


def json_schema(kinds: Sequence[Kind], kind: str | None = None) -> dict[str, Any]:
    """Return the schema of one kind, of `Policy` (reconciler.yaml), or of any document.

    Raises:
        UsageError: there is no such kind.
    """
    parts = {k.name: _with_options(k.schema()) for k in kinds}
    parts[_POLICY] = Policy.model_json_schema()
    if kind is None:
        return _any_of(parts)
    name = {known.lower(): known for known in parts}.get(kind.lower())
    if name is None:
        hint = did_you_mean(kind, parts, what="known kinds")
        raise UsageError(f"there is no kind {kind!r}", hint=hint)
    return {"$schema": _DIALECT, **parts[name]}


def _with_options(schema: Mapping[str, Any]) -> dict[str, Any]:
    reconcile = ReconcileOptions.model_json_schema()
    return {**schema, "properties": {**schema.get("properties", {}), KEY: reconcile}}


def _any_of(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Join schemas, each one's own definitions under a name of their own."""
    definitions: dict[str, Any] = {}
    for name, part in parts.items():
        for inner, schema in part.get("$defs", {}).items():
            definitions[f"{name}.{inner}"] = _moved(schema, name)
        rest = {key: value for key, value in part.items() if key not in ("$defs", "$schema")}
        definitions[name] = _moved(rest, name)
    return {
        "$schema": _DIALECT,
        "title": "A document of a Reconciler repository",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in parts],
        "$defs": definitions,
    }


def _moved(schema: Any, name: str) -> Any:
    """Point references at `#/$defs/X` to `#/$defs/<name>.X`."""
    if isinstance(schema, Mapping):
        return {key: _moved_reference(key, value, name) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_moved(inner, name) for inner in schema]
    return schema


def _moved_reference(key: str, value: Any, name: str) -> Any:
    if key == "$ref" and isinstance(value, str):
        return value.replace("#/$defs/", f"#/$defs/{name}.")
    return _moved(value, name)
