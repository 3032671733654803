"""What pydantic finds wrong with a value, said to the people who wrote it: place, words, no value."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from reconciler.model.values import Masked, Value, revealed

_WORDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with a value.

    Attributes:
        path: keys and list indexes below `data`.
        message: for people, without any value.
        hint: what to do.
    """

    path: tuple[str | int, ...]
    message: str
    hint: str | None = None


def complaints(
    at: tuple[str | int, ...], value: Value, error: ValidationError
) -> Iterator[Complaint]:
    """Say each error once: the members of a union complain one by one about the same place.

    Args:
        at: where the value stands.
        value: that was validated; secrets and all.
        error: what pydantic said of it.
    """
    found: dict[tuple[str | int, ...], list[ErrorDetails]] = {}
    for detail in error.errors(include_input=False, include_url=False):
        path, found_there = _locate(value, detail["loc"])
        if not isinstance(found_there, Masked):
            found.setdefault(path, []).append(detail)
    for path, details in found.items():
        words = " or ".join(dict.fromkeys(_explain(detail) for detail in details))
        words = words.replace(" or must be ", " or ").replace(" or needs ", " or ")
        whole = (*at, *path)
        yield Complaint(whole, f"{'.'.join(map(str, whole))} {words}".strip())


def _locate(value: Value, loc: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], Value]:
    """Follow an error's location through the data; steps that name a union's member are skipped."""
    path: list[str | int] = []
    for step in loc:
        plain: Any = revealed(value)
        if _leads_on(plain, step):
            value = plain[step]
            path.append(step)
    return tuple(path), value


def _leads_on(value: Any, step: str | int) -> bool:
    if isinstance(value, Mapping):
        return step in value
    return isinstance(value, list) and isinstance(step, int) and step < len(value)


def _explain(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind in _WORDS:
        return f"must be {_WORDS[kind]}"
    if kind == "missing":
        return f"needs {detail['loc'][-1]}"
    if kind == "extra_forbidden":
        return "is not a field here"
    if kind in ("literal_error", "enum"):
        return f"must be {detail['ctx']['expected']}"
    text = detail["msg"]
    return f"{text[0].lower()}{text[1:]}".replace("input should", "must")


@cache
def field_adapter(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    """Return what validates and dumps one field of a model by itself."""
    field = model.model_fields[name]
    annotation: Any = field.annotation
    for part in field.metadata:
        annotation = Annotated[annotation, part]
    return TypeAdapter(annotation)
