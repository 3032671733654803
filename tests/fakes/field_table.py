"""A document for each field of each kind: the field has a value that isn't its default."""

from collections.abc import Iterator
from typing import Any

from reconciler.model.values import Secret
from tests.fakes.block_fields import FIELDS, REQUIRED, data_with

Document = dict[str, Any]

_SCHEMA = {"type": "object", "title": "P", "properties": {"n": {"type": "integer"}}}
_EVENT = {"posture": "Reactive", "expect": ["a"]}
_PROPERTIES = {
    "properties": {
        "host": {"type": "string"},
        "word": {"type": "string", "format": "password"},
        "tuning": {"allOf": [{"$ref": "#/definitions/Tuning"}]},
    },
    "required": ["host"],
    "definitions": {"Tuning": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}
_TEMPLATE = {
    "job_configuration": {"command": "{{ command }}"},
    "variables": {"type": "object", "properties": {"command": {"type": "string"}}},
}

NAMES = {
    "Variable": ("name",),
    "ConcurrencyLimit": ("name", "tag"),
    "WorkPool": ("name",),
    "WorkQueue": ("work_pool_name", "name"),
    "Flow": ("name",),
    "BlockType": ("slug",),
    "Block": ("block_type_slug", "name"),
    "Deployment": ("flow_name", "name"),
    "Automation": ("name",),
}
"""Keys that name a resource, by kind."""

NEEDED: dict[str, Document] = {
    "Variable": {"value": "v"},
    "ConcurrencyLimit": {"limit": 1},
    "WorkPool": {"type": "prefect-agent"},
    "WorkQueue": {},
    "Flow": {},
    "BlockType": {"block_schema": {"properties": {"a": {"type": "string"}}}},
    "Block": {},
    "Deployment": {},
    "Automation": {"trigger": _EVENT, "actions": [{"type": "do-nothing"}]},
}
"""What a document of a kind can't do without."""

VALUES: dict[str, Document] = {
    "Variable": {"value": "several\nlines: 'of' it\n", "tags": ["b", "a"]},
    "ConcurrencyLimit": {"limit": 7, "active": False, "slot_decay_per_second": 0.5},
    "WorkPool": {
        "type": "process",
        "description": "For people.",
        "base_job_template": _TEMPLATE,
        "is_paused": True,
        "concurrency_limit": 3,
    },
    "WorkQueue": {
        "description": "For people.",
        "priority": 7,
        "concurrency_limit": 0,
        "is_paused": True,
    },
    "Flow": {"tags": ["b", "a"]},
    "BlockType": {
        "name": "Some Type",
        "block_schema": _PROPERTIES,
        "capabilities": ["load", "query"],
        "description": "For people.",
        "logo_url": "https://docs.test/logo.png",
        "documentation_url": "https://docs.test",
        "code_example": "x = 1",
    },
    "Deployment": {
        "description": "says *bye*\n",
        "version": "2",
        "tags": ["b", "a"],
        "parameters": {"n": 1, "deep": {"a": [1, None]}, "text": "{{ x }} and $${{ y }}"},
        "schedules": [
            {"cron": "0 3 * * *", "timezone": "Europe/London", "day_or": False, "active": False},
            {"interval": 90, "anchor_date": "2026-01-01T00:00:00+00:00"},
            {"rrule": "DTSTART:20260101T000000\nFREQ=DAILY"},
        ],
        "schedule": {"cron": "@daily"},
        "paused": True,
        "is_schedule_active": False,
        "path": "/opt/a",
        "entrypoint": "package.module.flow",
        "infrastructure": "process/target",
        "storage": "local-file-system/target",
        "pull_steps": [{"a.step": {"directory": "x"}}],
        "job_variables": {"env.A": "b", "image": None},
        "infra_overrides": {"env": {"B": "c"}},
        "work_queue_name": "first",
        "work_pool_name": "pool",
        "triggers": [{"expect": ["order.paid"], "parameters": {"a": 1}}],
        "parameter_openapi_schema": _SCHEMA,
        "enforce_parameter_schema": True,
        "manifest_path": "a.json",
        "concurrency_limit": 3,
        "concurrency_options": {"collision_strategy": "CANCEL_NEW", "grace_period_seconds": 90},
        "labels": {"team": "b", "on": True, "size": 1.5},
    },
    "Automation": {
        "trigger": {
            "type": "sequence",
            "within": 30,
            "triggers": [
                _EVENT,
                {
                    "posture": "Proactive",
                    "expect": ["b"],
                    "after": ["c"],
                    "for_each": ["prefect.resource.id"],
                    "match": {"prefect.resource.id": "x.*"},
                    "match_related": {"prefect.resource.role": "flow"},
                    "threshold": 2,
                    "within": 60,
                },
            ],
        },
        "actions": [{"type": "run-deployment", "deployment": "target/target"}],
        "actions_on_trigger": [{"type": "pause-work-pool", "work_pool": "pool"}],
        "actions_on_resolve": [{"type": "resume-work-queue", "work_queue": "pool/queue"}],
        "description": "For people.",
        "enabled": False,
        "tags": ["b", "a"],
    },
}
"""A value for each field, by kind; those of blocks are in `tests.fakes.block_fields`."""

ONLY_2 = {("Deployment", "manifest_path")}
ONLY_3 = {
    *(("Deployment", name) for name in ("concurrency_limit", "concurrency_options", "labels")),
    ("Automation", "tags"),
}
_DEFAULTS_OF_3 = {("Deployment", "enforce_parameter_schema"): False}
_NEEDS = {("Deployment", "concurrency_options"): {"concurrency_limit": 2}}


def targets(slugs: set[str]) -> list[Document]:
    """Return what the documents of the table refer to."""
    blocks = [
        {"kind": "Block", "block_type_slug": slug, "name": "target", "data": REQUIRED.get(slug, {})}
        for slug in sorted({"process", "local-file-system", *slugs})
    ]
    return [
        *blocks,
        {"kind": "WorkPool", "name": "pool", "type": "prefect-agent"},
        {"kind": "WorkQueue", "work_pool_name": "pool", "name": "queue"},
        {"kind": "Deployment", "flow_name": "target", "name": "target", "entrypoint": "f.py:f"},
    ]


def documents(kind: str, *, v2: bool) -> Iterator[Document]:
    """Yield a document for each field of a kind that a version has."""
    if kind == "Block":
        yield from _blocks()
        return
    absent = ONLY_3 if v2 else ONLY_2
    for number, (field, value) in enumerate(VALUES[kind].items()):
        if (kind, field) in absent:
            continue
        told = value if v2 else _DEFAULTS_OF_3.get((kind, field), value)
        more = _NEEDS.get((kind, field), {})
        yield {"kind": kind, **_names(kind, number), **NEEDED[kind], **more, field: told}
    if kind == "ConcurrencyLimit":
        yield {"kind": kind, "tag": "slow", "limit": 4}
    if kind == "Variable" and not v2:
        yield {"kind": kind, "name": "tree", "value": {"a": [1, None, True]}}


def _names(kind: str, number: int) -> Document:
    word = f"x{number}"
    names: Document = {
        "WorkQueue": {"work_pool_name": "pool", "name": word},
        "BlockType": {"slug": word, "name": word.upper()},
        "Deployment": {"flow_name": "etl", "name": word},
    }.get(kind, {"name": word})
    return names


def _blocks() -> Iterator[Document]:
    for slug, fields in FIELDS.items():
        for number, field in enumerate(fields):
            yield {
                "kind": "Block",
                "block_type_slug": slug,
                "name": f"x{number}",
                "data": data_with(slug, field),
            }


def secrets_said(value: Any, secrets: dict[str, str]) -> Any:
    """Return a document with an expression in place of each `Secret`; the values go to `secrets`."""
    if isinstance(value, Secret):
        name = f"S{len(secrets)}"
        secrets[name] = str(value.reveal())
        return f"${{{{ secrets.{name} }}}}"
    if isinstance(value, dict):
        return {key: secrets_said(inner, secrets) for key, inner in value.items()}
    if isinstance(value, list):
        return [secrets_said(inner, secrets) for inner in value]
    return value
