"""What pydantic says of a mapping, in our words and with places."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from reconciler.model.near import did_you_mean
from reconciler.model.places import Place
from reconciler.model.problems import Problem

At = Callable[..., Place]

_HELP = "`reconciler schema` shows what is allowed"
_WORDS = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a mapping",
    "string_type": "text",
    "tuple_type": "a list",
}


def problems_of(error: ValidationError, model: type[BaseModel], at: At) -> Iterator[Problem]:
    """Yield a problem for each thing that pydantic found.

    Args:
        error: what it raised. The values must hold no secret: messages may quote them.
        model: what was expected.
        at: gives the place of a path.
    """
    schema = model.model_json_schema()
    for found in error.errors(include_url=False, include_input=False):
        path = found["loc"]
        inside = _inside(schema, path[:-1])
        if found["type"] == "extra_forbidden":
            key = str(path[-1])
            yield Problem(at(*path), f"unknown key {key!r}", did_you_mean(key, inside) or _HELP)
            continue
        hint = str(inside.get(path[-1], {}).get("description", "")) if path else ""
        missing = found["type"] == "missing"
        yield Problem(at(*path[:-1] if missing else path), _message(found), hint or _HELP)


def _message(found: ErrorDetails) -> str:
    word = _WORDS.get(found["type"])
    said = f"must be {word}" if word else found["msg"].removeprefix("Value error, ")
    said = said.replace("Input should", "must").replace("String should", "must")
    where = _dotted(found["loc"])
    if found["type"] == "missing":
        said = "is missing"
    return f"`{where}` {said}" if where else said


def _dotted(path: tuple[str | int, ...]) -> str:
    return ".".join(str(step) for step in path)


def _inside(schema: Mapping[str, Any], path: tuple[str | int, ...]) -> Mapping[Any, Any]:
    """Return the properties that a JSON Schema knows at a path."""
    node: Any = schema
    for step in path:
        node = _followed(schema, node)
        if isinstance(step, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(step) or node.get("additionalProperties") or {}
    found = _followed(schema, node).get("properties", {})
    return found if isinstance(found, Mapping) else {}


def _followed(schema: Mapping[str, Any], node: Any) -> Mapping[str, Any]:
    if not isinstance(node, Mapping):
        return {}
    reference = node.get("$ref")
    if reference is None:
        return node
    found: Mapping[str, Any] = schema["$defs"][str(reference).rsplit("/", 1)[-1]]
    return found
