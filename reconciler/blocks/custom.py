"""Schemas of block types of one's own: what people write, and what Prefect's API keeps.

Prefect wants a title, a type, the slug and the list of secret fields beside the properties; all of
them follow from the rest, so manifests go without (format: facts/prefect-api.md, tried on 2.20.26
and 3.8.8).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.blocks.prefect_schema import pointers, reachable
from reconciler.model.near import did_you_mean
from reconciler.model.values import Value, contains_secret

_KEYS = ("properties", "required", "definitions", "secret_fields")
_WRITTEN_BY_US = ("title", "type", "block_type_slug")
_REFERENCES = "block_schema_references"
_SECRET = "password"  # noqa: S105 - a format's name
_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
_EXAMPLE = "for example properties: {host: {type: string}}"

Path = tuple[str, ...]
Complaint = tuple[Path, str, str]
"""Where below the schema, what is wrong, what to do."""


def normal_schema(schema: Value) -> dict[str, Any]:
    """Return a schema as people write it, in the form in which both sides are compared."""
    given = schema if isinstance(schema, Mapping) else {}
    properties = _mapping(given.get("properties"))
    secret = {*_names(given.get("secret_fields")), *_passwords(properties)}
    made = {
        "properties": {name: _plain(one) for name, one in properties.items()},
        "required": sorted(_names(given.get("required"))),
        # Servers keep no others (tried).
        "definitions": reachable(properties, _mapping(given.get("definitions"))),
        "secret_fields": sorted(secret - set(_passwords(properties))),
        _REFERENCES: dict(_mapping(given.get(_REFERENCES))),
    }
    return {key: value for key, value in made.items() if value}


def full_schema(slug: str, name: str, schema: Value) -> dict[str, Any]:
    """Return the `fields` of a block schema as the API takes them.

    Args:
        slug: of the type.
        name: of the type.
        schema: as people write it.
    """
    normal = normal_schema(schema)
    properties = normal.pop("properties", {})
    secret = sorted({*normal.pop("secret_fields", ()), *_passwords(properties)})
    return {
        "title": name,
        "type": "object",
        "properties": {
            key: {**one, "writeOnly": True} if key in secret else one
            for key, one in properties.items()
        },
        **normal,
        "block_type_slug": slug,
        "secret_fields": secret,
        _REFERENCES: {},
    }


def schema_problems(schema: Value) -> Iterator[Complaint]:
    """Yield what is wrong with a schema as people wrote it."""
    if not isinstance(schema, Mapping):
        return  # the field table says so
    if contains_secret(schema):
        yield (), "a schema holds no secrets", "give secrets to the blocks of the type"
        return
    yield from _key_problems(schema)
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        yield (), "a block_schema needs properties", _EXAMPLE
        return
    yield from _property_problems(properties)
    for key in ("required", "secret_fields"):
        yield from _name_problems(key, schema.get(key), properties)
    yield from _draft_problems(schema)


def _key_problems(schema: Mapping[Any, Value]) -> Iterator[Complaint]:
    for key in schema:
        if key in _WRITTEN_BY_US:
            yield (key,), f"{key} follows from the rest", "leave it out"
        elif key == _REFERENCES:
            text = "a type whose blocks hold blocks of other types can't be declared"
            yield (key,), text, "write it in Python, and register it by `prefect block register`"
        elif key not in _KEYS:
            hint = did_you_mean(str(key), _KEYS, what="keys of a block_schema") or _EXAMPLE
            yield (str(key),), f"a block_schema has no key {key!r}", hint


def _property_problems(properties: Mapping[Any, Value]) -> Iterator[Complaint]:
    for name, one in properties.items():
        at = ("properties", str(name))
        if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
            yield at, f"{name!r} can't be the name of a field", "letters, digits and _"
        elif not isinstance(one, Mapping):
            yield at, f"{name} must be a mapping", _EXAMPLE


def _name_problems(key: str, names: Value, properties: Mapping[Any, Value]) -> Iterator[Complaint]:
    if names is None:
        return
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        yield (key,), f"{key} must be a list of fields", "for example [host]"
        return
    for name in names:
        if name.partition(".")[0] not in properties:
            hint = did_you_mean(name, properties, what="its properties") or "declare it"
            yield (key,), f"{key} names {name}, which is no property", hint


def _draft_problems(schema: Mapping[str, Value]) -> Iterator[Complaint]:
    from jsonschema import Draft7Validator  # noqa: PLC0415 - a start that needs none of it is quicker
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415 - a start that needs none of it is quicker

    plain = {key: value for key, value in schema.items() if key in ("properties", "definitions")}
    try:
        Draft7Validator.check_schema(plain)
    except SchemaError as error:
        path = tuple(str(step) for step in error.absolute_path)
        word = path[-1] if path else "schema"
        hint = f"one of {', '.join(_TYPES)}" if word == "type" else "see json-schema.org, draft 7"
        yield path, f"{json.dumps(error.instance)} is no {word} in JSON Schema", hint
    definitions = _mapping(schema.get("definitions"))
    for name in pointers(plain):
        if name not in definitions:
            yield (), f"$ref: {name} leads nowhere", "write #/definitions/<name>, and define it"


def _plain(one: Value) -> Value:
    """Leave out what we add: a secret is only ever written."""
    if not isinstance(one, Mapping):
        return one
    return {key: value for key, value in one.items() if (key, value) != ("writeOnly", True)}


def _passwords(properties: Mapping[str, Value]) -> list[str]:
    return [
        name
        for name, one in properties.items()
        if isinstance(one, Mapping) and one.get("format") == _SECRET
    ]


def _mapping(value: Value) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _names(value: Value) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
