"""The data of every other block type, judged by the schema that the server has for it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.model.complaints import Complaint
from reconciler.model.near import did_you_mean
from reconciler.model.values import Masked, Ref, UnknownRef, Value, revealed

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_DEFINITIONS = "#/definitions/"
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


def check(slug: str, data: Mapping[str, Value], fields: Mapping[str, Any]) -> Iterator[Complaint]:
    """Yield what is wrong with data by the `fields` of a block schema.

    Null is accepted where a key may be absent: pydantic 1 wrote no null into its schemas.
    """
    properties = fields.get("properties") or {}
    for name, value in data.items():
        if properties and name not in properties:
            hint = did_you_mean(str(name), properties, what="its fields")
            yield Complaint((name,), f"{slug} has no field {name!r}", hint)
        elif isinstance(value, Ref):
            yield from _check_reference(slug, name, value, fields)
        elif not (value is None and name not in _required(fields)):
            yield from _check_field(name, value, fields)
    for name in _required(fields):
        if name not in data:
            yield Complaint((), f"{slug} needs {name}")


def without_defaults(data: Mapping[str, Value], fields: Mapping[str, Any]) -> dict[str, Value]:
    """Leave out the keys that equal their default: an absent key means the same."""
    return {name: value for name, value in data.items() if not _is_default(name, value, fields)}


def _required(fields: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(fields.get("required") or ())


def _is_default(name: str, value: Value, fields: Mapping[str, Any]) -> bool:
    prop = (fields.get("properties") or {}).get(name)
    if prop is None or name in _required(fields):
        return False
    plain = revealed(value)
    if "default" in prop:
        default = prop["default"]
        return bool(plain == default) and isinstance(plain, bool) == isinstance(default, bool)
    # Defaults made by a factory stand in no schema; Prefect's client writes them as {} and [].
    empty = (plain == {} and prop.get("type") == "object") or (
        plain == [] and prop.get("type") == "array"
    )
    return plain is None or empty


def _check_reference(
    slug: str, name: str, ref: Ref, fields: Mapping[str, Any]
) -> Iterator[Complaint]:
    found = (fields.get("block_schema_references") or {}).get(name) or []
    allowed = [r["block_type_slug"] for r in (found if isinstance(found, list) else [found])]
    if not allowed:
        yield Complaint((name,), f"{name} of {slug} takes no block")
    elif ref.key.parts[0] not in allowed:
        wanted = " or ".join(allowed)
        yield Complaint((name,), f"{name} of {slug} takes a {wanted} block")


def _check_field(name: str, value: Value, fields: Mapping[str, Any]) -> Iterator[Complaint]:
    definitions = fields.get("definitions") or {}
    schema = _closed({**fields["properties"][name], "definitions": definitions}, definitions)
    if name in (fields.get("block_schema_references") or {}):
        return  # written inline, it is the other type's data: the server doesn't look into it
    from jsonschema import Draft7Validator  # noqa: PLC0415 - a start that needs none of it is quicker

    for error in Draft7Validator(schema).iter_errors(revealed(value)):
        if not _excusable(error):
            path = (name, *error.absolute_path)
            yield Complaint(path, f"{'.'.join(map(str, path))} {_explain(error)}")


def _closed(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Return a schema in which what leads nowhere allows everything.

    The `secret` block of Prefect 3.8.8 refers to a JsonValue that it does not define; a reference
    to another address would be fetched.
    """
    if isinstance(schema, list):
        return [_closed(inner, definitions) for inner in schema]
    if not isinstance(schema, Mapping):
        return schema
    target = schema.get("$ref")
    if isinstance(target, str) and target.removeprefix(_DEFINITIONS) not in definitions:
        return {}
    return {key: _closed(inner, definitions) for key, inner in schema.items()}


def _excusable(error: "ValidationError") -> bool:
    return error.instance is None or _has_mask(error.instance)


def _has_mask(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_has_mask(inner) for inner in value.values())
    if isinstance(value, list):
        return any(_has_mask(inner) for inner in value)
    return isinstance(value, Masked | UnknownRef)


def _explain(error: "ValidationError") -> str:
    """Say what is wrong; jsonschema's own messages hold the value, which may be a secret."""
    rule: Any = error.validator_value
    if error.validator == "type":
        names = rule if isinstance(rule, list) else [rule]
        return "must be " + " or ".join(_TYPES.get(str(name), str(name)) for name in names)
    if error.validator == "enum":
        return "must be one of " + ", ".join(map(str, rule))
    if error.validator == "required":
        instance: Any = error.instance
        return "needs " + ", ".join(name for name in rule if name not in instance)
    return f"does not fit the block type's schema ({error.validator})"
