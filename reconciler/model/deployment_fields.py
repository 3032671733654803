"""The fields of a deployment: what they hold, which server version knows them, their defaults.

One table for both server versions (Prefect 2.20.26 and 3.8.8: OpenAPI of DeploymentCreate and
DeploymentUpdate, and tried).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.model.rules import FieldRule
from reconciler.model.schedules import from_wire, ordered
from reconciler.model.values import Fields, Masked, Secret, Value

DEFAULT_POOL = "default-agent-pool"
DEFAULT_QUEUE = "default"
STRATEGIES = ("ENQUEUE", "CANCEL_NEW")
_SYSTEM_LABEL = "prefect.flow.id"  # added by 3.x (facts)
_GRACE = range(60, 86_401)  # seconds, as 3.x checks them


def _hidden(value: object) -> bool:
    return isinstance(value, Secret | Masked)


def _text(value: object) -> str | None:
    return None if isinstance(value, str) or _hidden(value) else "must be a text; quote it"


def _flag(value: object) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _mapping(value: object) -> str | None:
    return None if isinstance(value, Mapping) or _hidden(value) else "must be a mapping"


def _texts(value: object) -> str | None:
    if not isinstance(value, list | tuple):
        return "must be a list of texts"
    return None if all(_text(item) is None for item in value) else "must be a list of texts"


def _steps(value: object) -> str | None:
    if isinstance(value, list | tuple) and all(isinstance(item, Mapping) for item in value):
        return None
    return "must be a list of steps, each a mapping"


def _limit(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return None
    return "must be a whole number above 0"


def _labels(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return "must be a mapping"
    plain = all(_hidden(item) or isinstance(item, str | int | float) for item in value.values())
    return None if plain else "must map to texts, numbers, true or false"


def _options(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return "must be a mapping"
    strategy, grace = value.get("collision_strategy"), value.get("grace_period_seconds")
    if strategy not in STRATEGIES:
        return f"needs a collision_strategy: {' or '.join(STRATEGIES)}"
    if grace is not None and grace not in _GRACE:
        return f"grace_period_seconds must be from {_GRACE[0]} to {_GRACE[-1]}"
    unknown = sorted(set(value) - {"collision_strategy", "grace_period_seconds"})
    return f"has an unknown key {unknown[0]!r}" if unknown else None


@dataclass(frozen=True, slots=True)
class Field:
    """A top-level field.

    Attributes:
        check: returns what is wrong with a value that isn't null, None if nothing; None for
            fields that have a reader of their own.
        default: of a new deployment, normalised.
        v2: 2.20 knows it.
        v3: 3.x knows it.
        patch_v2: PATCH on 2.20 can carry it (facts: "PATCH cannot carry").
        patch_v3: PATCH on 3.x can.
    """

    check: Callable[[object], str | None] | None = None
    default: Value = None
    v2: bool = True
    v3: bool = True
    patch_v2: bool = True
    patch_v3: bool = True


FIELDS: Mapping[str, Field] = {
    "description": Field(_text),
    "version": Field(_text),
    "tags": Field(_texts, default=()),
    "parameters": Field(_mapping, default={}),
    "schedules": Field(default=()),
    "paused": Field(_flag, default=False),
    "path": Field(_text),
    "entrypoint": Field(),
    "infrastructure": Field(),
    "storage": Field(),
    "pull_steps": Field(_steps, patch_v2=False),
    "job_variables": Field(_mapping, default={}),
    "work_queue_name": Field(_text, default=DEFAULT_QUEUE),
    "work_pool_name": Field(_text, default=DEFAULT_POOL),
    "parameter_openapi_schema": Field(_mapping, patch_v2=False),
    "enforce_parameter_schema": Field(_flag, default=True),
    "manifest_path": Field(_text, v3=False),
    "concurrency_limit": Field(_limit, v2=False),
    "concurrency_options": Field(_options, v2=False),
    "labels": Field(_labels, default={}, v2=False, patch_v3=False),
}


def known(*, v2: bool) -> dict[str, Field]:
    """Return the fields of a server version."""
    return {name: field for name, field in FIELDS.items() if (field.v2 if v2 else field.v3)}


def default(name: str, *, v2: bool) -> Value:
    """Return the normalised default of a field."""
    if name == "enforce_parameter_schema":
        return not v2  # facts: false on 2.20, true on 3.x
    value = FIELDS[name].default
    if isinstance(value, tuple):
        return []
    return dict(value) if isinstance(value, Mapping) else value


def field_rules(*, v2: bool) -> dict[str, FieldRule]:
    """Return what planning must know: the default that each field returns to, and what is released."""
    return {
        name: FieldRule(default=default(name, v2=v2), released=name == "paused")
        for name in known(v2=v2)
    }


def normalise(fields: Fields, *, v2: bool) -> dict[str, Value]:
    """Bring declared or live values into the form in which equal means the same to the server."""
    result: dict[str, Value] = {}
    for name, value in fields.items():
        reduced = _REDUCE.get(name, _same)(value)
        result[name] = default(name, v2=v2) if reduced is None else reduced
    return result


def _same(value: Value) -> Value:
    return value


def _without_nulls(value: Value) -> Value:
    if isinstance(value, Mapping):
        return {key: inner for key, inner in value.items() if inner is not None}
    return value


def _some(value: Value) -> Value:
    return value or None


def _schema(value: Value) -> Value:
    # 3.x stores an empty schema where none is given (tried).
    return None if value in ({}, {"type": "object", "properties": {}}) else value


def _user_labels(value: Value) -> Value:
    if isinstance(value, Mapping):
        return {key: inner for key, inner in value.items() if key != _SYSTEM_LABEL}
    return value


_REDUCE: Mapping[str, Callable[[Value], Value]] = {
    "concurrency_options": _without_nulls,
    "labels": _user_labels,
    "parameter_openapi_schema": _schema,
    "pull_steps": _some,
}


def live_fields(raw: Mapping[str, Any], *, v2: bool) -> dict[str, Value]:
    """Return every field of a deployment as the API answers it, normalised; blocks still by id.

    3.x answers null for `concurrency_limit` whatever it is (facts). A limit that other deployments
    share is not this field: writing the field would change the shared one (Prefect 3.8.8: tried).
    """
    fields = {name: raw.get(name) for name in known(v2=v2)}
    fields["schedules"] = ordered(from_wire(item) for item in raw.get("schedules") or [])
    fields["job_variables"] = raw.get("infra_overrides" if v2 else "job_variables")
    fields["infrastructure"] = raw.get("infrastructure_document_id")
    fields["storage"] = raw.get("storage_document_id")
    if not v2:
        fields["concurrency_limit"] = own_limit(raw)
    queue = {name: fields.pop(name) for name in ("work_queue_name", "work_pool_name")}
    return {**normalise(fields, v2=v2), **queue}


def own_limit(raw: Mapping[str, Any]) -> int | None:
    """Return the concurrency limit that belongs to the deployment alone."""
    limit = raw.get("global_concurrency_limit") or {}
    return limit.get("limit") if limit.get("name") == f"deployment:{raw['id']}" else None


def shares_limit(raw: Mapping[str, Any]) -> bool:
    """Tell whether the deployment uses a concurrency limit that is not its own."""
    return bool(raw.get("global_concurrency_limit")) and own_limit(raw) is None


def has_kinds(value: Value) -> bool:
    """Tell whether a tree holds `__prefect_kind`, which PATCH would replace by its value (facts)."""
    if isinstance(value, Secret):
        return has_kinds(value.reveal())
    if isinstance(value, Mapping):
        return "__prefect_kind" in value or any(has_kinds(inner) for inner in value.values())
    return isinstance(value, list | tuple) and any(has_kinds(inner) for inner in value)
