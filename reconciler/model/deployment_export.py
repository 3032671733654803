"""A live deployment as a document: fields that aren't default, in the form that people write."""

from collections.abc import Mapping
from typing import Any

from reconciler.model.deployment_fields import DEFAULT_POOL, DEFAULT_QUEUE, FIELDS, default
from reconciler.model.keys import Key
from reconciler.model.schedules import TIMINGS
from reconciler.model.values import Fields, Value

_ELSEWHERE = frozenset(
    {"infrastructure", "storage", "schedules", "work_queue_name", "work_pool_name"}
    | {"enforce_parameter_schema", "manifest_path", "job_variables"}
)


def document_of(key: Key, fields: Fields, *, v2: bool) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Return the document of a deployment without its blocks, and what it can't say.

    Args:
        key: of the deployment.
        fields: live, normalised, every one.
        v2: they come from Prefect 2.20.
    """
    flow, name = key.parts
    document: dict[str, Value] = {"kind": "Deployment", "flow_name": flow, "name": name}
    for field in FIELDS:
        value = fields.get(field)
        if field not in _ELSEWHERE and value is not None and value != default(field, v2=v2):
            document[field] = value
    if fields.get("job_variables"):
        document["infra_overrides"] = fields["job_variables"]
    # Its default differs between the versions: said wherever the other one would take it otherwise.
    enforced = fields.get("enforce_parameter_schema")
    if enforced is False or (enforced and v2):
        document["enforce_parameter_schema"] = enforced
    document |= _queue(fields)
    schedules = fields.get("schedules")
    if isinstance(schedules, list) and schedules:
        document["schedules"] = [_schedule(one) for one in schedules]
    notes = []
    if fields.get("work_queue_name") is None and fields.get("work_pool_name") is None:
        notes.append("it has no work queue, so nothing runs it; declared it gets `default`")
    if fields.get("manifest_path") is not None:
        notes.append("manifest_path is left out: Prefect 3 has none, and 2.20 only remembers it")
    return document, tuple(notes)


def _queue(fields: Fields) -> dict[str, Value]:
    pool, queue = fields.get("work_pool_name"), fields.get("work_queue_name")
    if pool in {None, DEFAULT_POOL}:
        return {} if queue in {None, DEFAULT_QUEUE} else {"work_queue_name": queue}
    return {"work_pool_name": pool, **({} if queue is None else {"work_queue_name": queue})}


def _schedule(schedule: Mapping[str, Any]) -> dict[str, Value]:
    timing = next(name for name in TIMINGS if name in schedule)
    value = schedule[timing]
    whole = isinstance(value, float) and value.is_integer()
    made: dict[str, Value] = {timing: int(value) if whole else value}
    for name in ("day_or", "timezone", "anchor_date", "active", "slug", "parameters"):
        told = schedule.get(name)
        usual = {"day_or": True, "timezone": "UTC", "active": True}.get(name)
        if told not in (None, {}, usual) or told is False:
            made[name] = told
    return made
