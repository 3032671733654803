"""Block schemas in Prefect's own format, and their checksums.

Prefect 2 made its block schemas with pydantic 1, and its servers of both versions still read that
form: `definitions`, no null in a type, references by `allOf`, and four keys of its own. Ours equal
those of Prefect 2.20.26 and its collections but for the descriptions. Prefect counts descriptions
in the checksum, and ours are our own, so the checksums differ from the published ones; a server
that has Prefect's schema keeps it and ours is not registered there.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from reconciler.blocks.base import BlockSettings, SecretMapping
from reconciler.blocks.registry import BLOCK_TYPES, settings_of

_POINTER = "#/definitions/"
_MODELS = {model.__name__: model for model in BLOCK_TYPES}


@cache
def _titles() -> dict[str, str]:
    return {name: str(model.model_config["title"]) for name, model in _MODELS.items()}


def schema_fields(
    model: type[BlockSettings], checksums: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the `fields` of a block schema as `POST /block_schemas/` takes them.

    Args:
        model: the shipped type.
        checksums: by slug, of the schemas that the server has for referred types; for the
            rest, ours count.
    """
    plain = model.model_json_schema(ref_template=_POINTER + "{model}")
    definitions = plain.pop("$defs", {})
    fields: dict[str, Any] = {**_as_pydantic_1(plain), **_own_keys(model, checksums or {})}
    if definitions:
        fields["definitions"] = {
            _titles().get(name, name): _definition(name, inner, checksums or {})
            for name, inner in definitions.items()
        }
    return fields


def checksum(fields: Mapping[str, Any]) -> str:
    """Return the checksum that Prefect servers compute for a schema.

    SOURCE facts/prefect-api.md: without `secret_fields` at any depth, and of the definitions only
    those that aren't blocks and are referred to; tried on 2.20.26 and 3.8.8.
    """
    counted = _without_secret_fields(fields)
    definitions = counted.pop("definitions", {})
    kept = reachable(counted, definitions)
    if kept:
        counted["definitions"] = kept
    text = json.dumps([[counted], {}], sort_keys=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@cache
def secret_fields(model: type[BlockSettings]) -> tuple[str, ...]:
    """Return the dotted paths of secret fields, nested blocks' too; `.*` means all below."""
    return tuple(_secret_paths(model))


@cache
def references(model: type[BlockSettings]) -> dict[str, str]:
    """Return the fields that may hold a reference, with the slug that it must have."""
    found = ((name, _block_in(field)) for name, field in model.model_fields.items())
    return {name: block.slug for name, block in found if block is not None}


def _own_keys(model: type[BlockSettings], checksums: Mapping[str, str]) -> dict[str, Any]:
    return {
        "block_type_slug": model.slug,
        "secret_fields": list(secret_fields(model)),
        "block_schema_references": {
            name: {
                "block_type_slug": slug,
                "block_schema_checksum": checksums.get(slug) or _shipped_checksum(slug),
            }
            for name, slug in references(model).items()
        },
    }


@cache
def _shipped_checksum(slug: str) -> str:
    model = settings_of(slug)
    if model is None:
        raise LookupError(f"no shipped block type {slug}")
    return checksum(schema_fields(model))


def _definition(name: str, inner: dict[str, Any], checksums: Mapping[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = _as_pydantic_1(inner)
    block = _MODELS.get(name)
    return made if block is None else {**made, **_own_keys(block, checksums)}


def _secret_paths(model: type[BlockSettings]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        members = set(_members(field.annotation))
        if SecretStr in members:
            yield name
        if SecretMapping in members:
            yield f"{name}.*"
        block = _block_in(field)
        if block is not None:
            yield from (f"{name}.{path}" for path in _secret_paths(block))


def _block_in(field: FieldInfo) -> type[BlockSettings] | None:
    for member in _members(field.annotation):
        if isinstance(member, type) and issubclass(member, BlockSettings):
            return member
    return None


def _members(annotation: object) -> Iterator[object]:
    """Yield a type and, of unions and annotated types, what they are made of."""
    yield annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return
    for inner in get_args(annotation):
        yield from _members(inner)


def _as_pydantic_1(node: Any) -> Any:
    """Rewrite what pydantic 2 generates into what pydantic 1 did."""
    if isinstance(node, list):
        return [_as_pydantic_1(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    made = {key: _as_pydantic_1(value) for key, value in _without_null(node).items()}
    if isinstance(made.get("properties"), dict):
        made["properties"] = {k: _reference_form(v) for k, v in made["properties"].items()}
    return made


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    """Drop what pydantic 1 did not write: null, literals' const, open additionalProperties."""
    made = {
        key: value
        for key, value in node.items()
        if not (key == "default" and value is None)
        and not (key == "additionalProperties" and value is True)
    }
    if "const" in made:
        made["enum"] = [made.pop("const")]
    members = [m for m in made.get("anyOf", ()) if m != {"type": "null"}]
    if len(members) == 1:
        del made["anyOf"]
        made = {**_without_null(members[0]), **made}
    elif members:
        made["anyOf"] = members
    if made.get("type") == "object" and made.get("format") == "password":
        made = {k: v for k, v in made.items() if k not in ("format", "writeOnly")}
    return made


def _reference_form(prop: dict[str, Any]) -> dict[str, Any]:
    """Point at a definition by its title; pydantic 1 wrapped a described reference in `allOf`."""
    if "anyOf" in prop:
        return {**prop, "anyOf": [_retarget(member) for member in prop["anyOf"]]}
    if "$ref" not in prop:
        return prop
    rest = {key: value for key, value in prop.items() if key != "$ref"}
    pointer = _retarget(prop)["$ref"]
    return {**rest, "allOf": [{"$ref": pointer}]} if rest else {"$ref": pointer}


def _retarget(node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    name = node["$ref"].removeprefix(_POINTER)
    return {**node, "$ref": _POINTER + _titles().get(name, name)}


def _without_secret_fields(node: Any) -> Any:
    if not isinstance(node, Mapping):
        return node
    return {
        key: _without_secret_fields(inner) for key, inner in node.items() if key != "secret_fields"
    }


def reachable(node: Any, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the definitions that aren't blocks and are referred to, through each other too."""
    kept: dict[str, Any] = {}
    waiting = list(pointers(node))
    while waiting:
        name = waiting.pop()
        definition = definitions.get(name)
        if name not in kept and definition and definition.get("block_type_slug") is None:
            kept[name] = definition
            waiting += pointers(definition)
    return kept


def pointers(node: Any) -> Iterator[str]:
    """Yield the name of each definition that a schema refers to; other targets as they are."""
    if isinstance(node, Mapping):
        for key, inner in node.items():
            if key == "$ref" and isinstance(inner, str):
                yield inner.removeprefix(_POINTER)
            else:
                yield from pointers(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from pointers(inner)
