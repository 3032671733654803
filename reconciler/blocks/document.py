"""The document of the kind Block: its own keys, and the JSON Schema for editors."""

import re
from collections.abc import Iterator
from typing import Any

from reconciler.blocks.base import BlockSettings
from reconciler.blocks.declare import block_declaration, is_block_name
from reconciler.blocks.prefect_schema import references
from reconciler.blocks.registry import BLOCK_TYPES, slugs
from reconciler.model.desired import Document, Parsed
from reconciler.model.near import did_you_mean
from reconciler.model.problems import Problem

KEYS = ("kind", "block_type_slug", "name", "data")
_NAMES = ("block_type_slug", "name")
_POINTER = "#/$defs/"


def recognises(document: Document) -> bool:
    """Tell whether a document without `kind` is a Block."""
    return {"block_type_slug", "name"} <= document.value.keys()


def parse(document: Document) -> Parsed:
    """Check a document offline and declare its block."""
    problems = (*_unknown_keys(document), *_bad_names(document))
    slug, name = (document.value.get(key) for key in _NAMES)
    if not isinstance(slug, str) or not isinstance(name, str) or not is_block_name(slug):
        return Parsed(problems=problems)
    data = document.value.get("data")
    parsed = block_declaration(slug, name, {} if data is None else data, document, ("data",))
    if problems:
        return Parsed(problems=(*problems, *parsed.problems))
    return parsed


def _unknown_keys(document: Document) -> Iterator[Problem]:
    for key in document.value:
        if key not in KEYS:
            hint = did_you_mean(str(key), (*KEYS, "reconcile"), what="keys of a Block")
            yield Problem(document.at(key), f"a Block has no key {key!r}", hint)


def _bad_names(document: Document) -> Iterator[Problem]:
    for key in _NAMES:
        value = document.value.get(key)
        if key not in document.value:
            yield Problem(document.place, f"a Block needs {key}")
        elif not isinstance(value, str):
            yield Problem(document.at(key), f"{key} must be text", "put it in quotes")
        elif not is_block_name(value):
            yield Problem(
                document.at(key),
                f"{key} may hold lower-case letters, digits and dashes only",
                _suggestion(value),
            )


def _suggestion(text: str) -> str | None:
    made = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return f"for example {made}" if made else None


def editor_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the document; `data` of shipped types in full."""
    definitions: dict[str, Any] = {}
    branches = [_branch(model, definitions) for model in BLOCK_TYPES]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Block",
        "type": "object",
        "properties": {
            "kind": {"const": "Block"},
            "block_type_slug": {
                "description": "Slug of the block type; any that the server knows.",
                "type": "string",
                "pattern": "^[a-z0-9-]+$",
                "examples": list(slugs()),
            },
            "name": {
                "description": "Name of the block document, unique within its type.",
                "type": "string",
                "pattern": "^[a-z0-9-]+$",
            },
            "data": {"description": "The block's fields, by Prefect's names.", "type": "object"},
        },
        "required": list(_NAMES),
        "additionalProperties": False,
        "allOf": branches,
        "$defs": {**definitions, "reference": _REFERENCE},
    }


_REFERENCE = {
    "description": "Another block document.",
    "type": "object",
    "properties": {"$ref": {"type": "string", "pattern": "^[a-z0-9-]+/[a-z0-9-]+$"}},
    "required": ["$ref"],
    "additionalProperties": False,
}


def _branch(model: type[BlockSettings], definitions: dict[str, Any]) -> dict[str, Any]:
    made = model.model_json_schema(ref_template=_POINTER + "{model}")
    definitions.update(made.pop("$defs", {}))
    for name in references(model):
        made["properties"][name] = {
            "anyOf": [{"$ref": f"{_POINTER}reference"}, made["properties"][name]]
        }
    definitions[model.__name__] = {**made, "additionalProperties": False}
    return {
        "if": {
            "properties": {"block_type_slug": {"enum": [model.slug, *model.aliases]}},
            "required": ["block_type_slug"],
        },
        "then": {"properties": {"data": {"$ref": _POINTER + model.__name__}}},
    }
