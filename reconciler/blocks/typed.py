"""The data of shipped types, field by field: checked, and brought into one form."""

from collections.abc import Iterator, Mapping
from enum import Enum

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic import Secret as PydanticSecret

from reconciler.blocks.base import MANIFEST, BlockSettings
from reconciler.blocks.prefect_schema import references
from reconciler.blocks.sense import senseless
from reconciler.model.complaints import Complaint, complaints, field_adapter
from reconciler.model.near import did_you_mean
from reconciler.model.values import (
    Ref,
    UnknownRef,
    Value,
    contains_masked,
    revealed,
    rewrap,
)


def check(model: type[BlockSettings], data: Mapping[str, Value]) -> Iterator[Complaint]:
    """Yield everything that is wrong with the data of a shipped type, as people wrote it."""
    complaints = [*_check_each(model, data)]
    yield from complaints or _check_together(model, data)


def _check_each(model: type[BlockSettings], data: Mapping[str, Value]) -> Iterator[Complaint]:
    for name, value in data.items():
        if name not in model.model_fields:
            hint = did_you_mean(str(name), model.model_fields, what="its fields")
            yield Complaint((name,), f"{model.slug} has no field {name!r}", hint)
        elif isinstance(value, Ref):
            yield from _check_reference(model, name, value)
        else:
            yield from _check_field(model, name, value)
    for name, field in model.model_fields.items():
        if field.is_required() and name not in data:
            yield Complaint((), f"{model.slug} needs {name}", field.description)


def _check_together(model: type[BlockSettings], data: Mapping[str, Value]) -> Iterator[Complaint]:
    """Yield what is wrong with fields that are each right; a value that is hidden tells nothing."""
    plain = {
        name: _dump(model, name, field_adapter(model, name).validate_python(revealed(value)))
        for name, value in data.items()
        if not isinstance(value, Ref | UnknownRef) and not contains_masked(value)
    }
    for path, message in senseless(model.slug, plain):
        yield Complaint(path, message)


def coerce(model: type[BlockSettings], data: Mapping[str, Value]) -> dict[str, Value]:
    """Bring each value into the form in which Prefect's class would hold it.

    Keys equal to their default are left out, since an absent key means the default. A value that
    doesn't fit its field stays as it is: servers store anything.
    """
    made = {name: _coerce_field(model, name, value) for name, value in data.items()}
    return {name: value for name, value in made.items() if not _is_default(model, name, value)}


def _coerce_field(model: type[BlockSettings], name: str, value: Value) -> Value:
    if name not in model.model_fields or isinstance(value, Ref | UnknownRef):
        return value
    try:
        plain = field_adapter(model, name).validate_python(revealed(value), extra="forbid")
    except ValidationError:
        return value
    return rewrap(value, _dump(model, name, plain))


def _is_default(model: type[BlockSettings], name: str, value: Value) -> bool:
    field = model.model_fields.get(name)
    if field is None or field.is_required():
        return False
    default = _dump(model, name, field.get_default(call_default_factory=True))
    plain = revealed(value)
    # 1 == True in Python and not in JSON.
    return plain == default and isinstance(plain, bool) == isinstance(default, bool)


def _check_reference(model: type[BlockSettings], name: str, ref: Ref) -> Iterator[Complaint]:
    wanted = references(model).get(name)
    if wanted is None:
        where = ", ".join(references(model)) or "none of its fields does"
        yield Complaint((name,), f"{name} of {model.slug} takes no block", f"these do: {where}")
    elif ref.key.parts[0] != wanted:
        yield Complaint(
            (name,), f"{name} of {model.slug} takes a {wanted} block, not {ref.key.parts[0]}"
        )


def _check_field(model: type[BlockSettings], name: str, value: Value) -> Iterator[Complaint]:
    try:
        field_adapter(model, name).validate_python(
            revealed(value), extra="forbid", context={MANIFEST: True}
        )
    except ValidationError as error:
        yield from complaints((name,), value, error)


def _dump(model: type[BlockSettings], name: str, value: object) -> Value:
    return _unwrap(field_adapter(model, name).dump_python(value, exclude_defaults=True))


def _unwrap(value: object) -> Value:
    """Turn what pydantic holds into plain JSON values."""
    if isinstance(value, SecretStr | PydanticSecret):
        return _unwrap(value.get_secret_value())
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, BaseModel):
        return _unwrap(value.model_dump(exclude_defaults=True))
    if isinstance(value, dict):
        return {key: _unwrap(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_unwrap(inner) for inner in value]
    return value
