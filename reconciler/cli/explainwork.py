"""What `reconciler explain` says: the JSON Schemas of the manifests, for people."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rich.markup import escape

from reconciler.blocks.registry import canonical_slug, settings_of, slugs
from reconciler.errors import UsageError
from reconciler.kinds import KINDS
from reconciler.model.near import did_you_mean
from reconciler.model.policy import Policy

Schema = Mapping[str, Any]

_BLOCK, _POLICY = "Block", "Policy"
_HIDDEN = frozenset({"kind"})


def explained(subject: str) -> str:
    """Return what a kind, a block type or a field is, with markup.

    Raises:
        UsageError: there is none of that name.
    """
    first, *path = subject.split(".")
    names = {kind.name.lower(): kind for kind in KINDS}
    kind = names.get(first.lower())
    if kind is None and first.lower() != _POLICY.lower():
        known = [*(one.name for one in KINDS), _POLICY]
        hint = did_you_mean(first, known, what="known kinds")
        raise UsageError(f"there is no kind {first!r}", hint=hint)
    if kind is None:
        return "\n".join(_lines(_POLICY, Policy.model_json_schema(), path))
    if kind.name == _BLOCK and path and path[0] not in _fields(kind.schema(), {}):
        return "\n".join(_block_type(path))
    text = "\n".join(_lines(kind.name, kind.schema(), path))
    return text if path else f"{text}\n\n[bold]Example[/]\n\n{escape(kind.example)}"


def _block_type(path: list[str]) -> Iterator[str]:
    model = settings_of(canonical_slug(path[0]))
    if model is None:
        hint = did_you_mean(path[0], slugs(), what="types with checked fields")
        raise UsageError(f"Block has no field {path[0]!r}, nor is it a type known here", hint=hint)
    yield from _lines(f"Block.{model.slug}", model.model_json_schema(), path[1:])


def _lines(name: str, schema: Schema, path: list[str]) -> Iterator[str]:
    root, required = schema, False
    for step in path:
        fields = _fields(schema, root)
        if step not in fields:
            hint = did_you_mean(step, fields, what="its fields")
            raise UsageError(f"{name} has no field {step!r}", hint=hint)
        required = step in schema.get("required", ())
        schema, name = _resolved(fields[step], root), f"{name}.{step}"
    need = ", needed" if required else ""
    yield f"[bold]{escape(name)}[/]  [dim]{escape(_type(schema, root))}{need}{_default(schema)}[/]"
    if schema.get("description"):
        yield f"  {escape(' '.join(schema['description'].split()))}"
    fields = {k: v for k, v in _fields(schema, root).items() if k not in _HIDDEN}
    if fields:
        yield ""
        width = max(map(len, fields))
        for field, inner in fields.items():
            yield _field(field.ljust(width), _resolved(inner, root), root, schema, field)


def _field(shown: str, inner: Schema, root: Schema, outer: Schema, name: str) -> str:
    need = " [yellow]needed[/]" if name in _required(outer, root) else ""
    text = " ".join((inner.get("description") or "").split())
    kind = escape(_type(inner, root)) + escape(_default(inner))
    return f"  [bold]{escape(shown)}[/]  [dim]{kind}[/]{need}  {escape(text)}".rstrip()


def _required(schema: Schema, root: Schema) -> tuple[str, ...]:
    own = tuple(schema.get("required", ()))
    return own or tuple(_object(schema, root).get("required", ()))


def _fields(schema: Schema, root: Schema) -> dict[str, Any]:
    return dict(_object(schema, root).get("properties", {}))


def _object(schema: Schema, root: Schema) -> Schema:
    """Return the mapping that a schema describes: itself, a list's item, or one of several."""
    schema = _resolved(schema, root)
    if "properties" in schema:
        return schema
    for inner in (schema.get("items"), *schema.get("anyOf", ())):
        if isinstance(inner, Mapping) and _object(inner, root).get("properties"):
            return _object(inner, root)
    extra = schema.get("additionalProperties")
    return _object(extra, root) if isinstance(extra, Mapping) else {}


def _resolved(schema: Schema, root: Schema) -> Schema:
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    found: Schema = root.get("$defs", {}).get(reference.rpartition("/")[2], {})
    return {**found, **{k: v for k, v in schema.items() if k != "$ref"}}


def _type(schema: Schema, root: Schema) -> str:
    schema = _resolved(schema, root)
    if "enum" in schema:
        return " | ".join(json.dumps(one) for one in schema["enum"])
    if "anyOf" in schema:
        words = [_type(one, root) for one in schema["anyOf"]]
        return " or ".join(dict.fromkeys(word for word in words if word != "null"))
    kind = schema.get("type", "any")
    kinds = [kind] if isinstance(kind, str) else [one for one in kind if one != "null"]
    if kinds == ["array"] and isinstance(schema.get("items"), Mapping):
        return f"list of {_type(schema['items'], root)}"
    return " or ".join({"object": "mapping", "array": "list"}.get(one, one) for one in kinds)


def _default(schema: Schema) -> str:
    default = schema.get("default")
    return "" if default in (None, "", [], {}) else f" = {json.dumps(default)}"
