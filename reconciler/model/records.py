"""Documents of kinds whose objects are plain records: typed fields, nothing that refers elsewhere.

A kind describes its fields by one pydantic model, which serves three ends: the offline check, the
JSON Schema for editors, and the defaults that a field returns to when git stops declaring it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from reconciler.model.complaints import complaints, field_adapter
from reconciler.model.desired import Declaration, Document, Parsed
from reconciler.model.keys import Key
from reconciler.model.near import did_you_mean
from reconciler.model.places import Place
from reconciler.model.problems import Problem
from reconciler.model.rules import FieldRule
from reconciler.model.values import Value, contains_masked, join, revealed, rewrap

_REFUSED = re.compile(r"[/%&<>]")


class Record(BaseModel):
    """The fields of a kind, by Prefect's names.

    Attributes:
        released: fields that are left as they are when git stops declaring them.
        immutable: fields that can't be changed on a live object.
    """

    model_config = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True
    )

    released: ClassVar[frozenset[str]] = frozenset()
    immutable: ClassVar[frozenset[str]] = frozenset()


def field_rules(model: type[Record]) -> dict[str, FieldRule]:
    """Return the field table."""
    return {
        name: FieldRule(
            default=None if field.is_required() else _default(model, name),
            released=name in model.released,
            immutable=name in model.immutable,
        )
        for name, field in model.model_fields.items()
    }


def read_record(
    document: Document, kind: str, model: type[Record], names: Iterable[str]
) -> tuple[dict[str, Value], tuple[Problem, ...]]:
    """Check a document offline.

    Args:
        document: as written.
        kind: its `kind:` word, for people.
        model: of its fields.
        names: keys that name the resource; whether their values are good is the kind's to say.

    Returns:
        The declared fields in their normal form, and every problem.
    """
    problems = tuple(_problems(document, kind, model, tuple(names)))
    if problems:
        return {}, problems
    declared = {name: value for name, value in document.value.items() if name in model.model_fields}
    return normal(model, declared), ()


def normal(model: type[Record], fields: Mapping[str, Value]) -> dict[str, Value]:
    """Bring fields into the form in which both sides are compared."""
    return {name: _normal(model, name, value) for name, value in fields.items()}


def declared(key: Key, fields: Mapping[str, Value], document: Document) -> Parsed:
    """Declare a record, with the places of its fields."""
    return Parsed((Declaration(key, fields, document.place, dict(_places(document))),))


def record_schema(kind: str, model: type[Record], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the document.

    Args:
        kind: its `kind:` word.
        model: of its fields.
        names: keys that name the resource, with a description each.
    """
    made = model.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind,
        "type": "object",
        "properties": {
            "kind": {"const": kind},
            **{name: {"type": "string", "description": text} for name, text in names.items()},
            **made.get("properties", {}),
        },
        "required": ["kind", *made.get("required", ())],
        "additionalProperties": False,
        **({"$defs": made["$defs"]} if "$defs" in made else {}),
    }


def text_at(document: Document, key: str, kind: str) -> str | Problem:
    """Return a name that a document must give, or what is wrong with it."""
    value = document.value.get(key)
    if value is None:
        return Problem(document.place, f"a {kind} needs {key}")
    if not isinstance(value, str) or not value:
        return Problem(document.at(key), f"{key} must be text", "put it in quotes")
    return value


def name_at(document: Document, key: str, kind: str) -> str | Problem:
    """Return a name that servers take for flows, pools and queues (facts: the rest is 422)."""
    text = text_at(document, key, kind)
    if isinstance(text, str) and _REFUSED.search(text):
        return Problem(document.at(key), f"{key} may not hold / % & < >")
    return text


def _problems(
    document: Document, kind: str, model: type[Record], names: tuple[str, ...]
) -> Iterator[Problem]:
    known = (*names, *model.model_fields)
    for key, value in document.value.items():
        if key in model.model_fields:
            yield from _wrong(document, model, key, value)
        elif key not in names and key != "kind":
            hint = did_you_mean(str(key), (*known, "reconcile"), what=f"keys of a {kind}")
            yield Problem(document.at(key), f"a {kind} has no key {key!r}", hint)
    for name, field in model.model_fields.items():
        if field.is_required() and name not in document.value:
            yield Problem(document.place, f"a {kind} needs {name}", field.description)


def _wrong(document: Document, model: type[Record], name: str, value: Value) -> Iterator[Problem]:
    try:
        field_adapter(model, name).validate_python(revealed(value), extra="forbid")
    except ValidationError as error:
        for one in complaints((name,), value, error):
            yield Problem(document.at(*one.path), one.message, one.hint)


def _normal(model: type[Record], name: str, value: Value) -> Value:
    if name not in model.model_fields or contains_masked(value):
        return value
    try:
        plain = field_adapter(model, name).validate_python(revealed(value))
    except ValidationError:
        return value  # a server may hold what another version wrote
    return rewrap(value, field_adapter(model, name).dump_python(plain))


def _default(model: type[Record], name: str) -> Value:
    value = model.model_fields[name].get_default(call_default_factory=True)
    dumped: Value = field_adapter(model, name).dump_python(value)
    return dumped


def _places(document: Document) -> Iterator[tuple[str, Place]]:
    """Yield field paths with their places; a list is one field, so nothing inside it counts."""
    for at, place in document.places.items():
        if at and all(isinstance(step, str) for step in at):
            path = ""
            for step in at:
                path = join(path, str(step))
            yield path, place
