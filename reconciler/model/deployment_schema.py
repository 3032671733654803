"""JSON Schema of a deployment's document, for editors."""

from typing import Any

from reconciler.model.automations import TRIGGERS
from reconciler.model.deployment_fields import STRATEGIES

_TEXT: dict[str, Any] = {"type": ["string", "null"]}
_MAPPING: dict[str, Any] = {"type": ["object", "null"]}
_BLOCK = {
    "type": ["string", "null"],
    "pattern": "^[a-z0-9-]+/[a-z0-9-]+$",
    "description": "A saved block: <type slug>/<name>.",
}
_NAME = {"type": "string", "minLength": 1, "pattern": "^[^/%&><]+$"}
_TIMING = {
    "cron": {"type": "string", "description": "For example 0 3 * * * or @daily."},
    "day_or": {"type": "boolean", "description": "Day of month or of week; false means both."},
    "interval": {
        "type": ["number", "string"],
        "exclusiveMinimum": 0,
        "description": "Seconds, or an ISO 8601 duration such as PT1H.",
    },
    "anchor_date": {"type": "string", "description": "Where intervals start counting."},
    "rrule": {"type": "string", "description": "A recurrence rule (RFC 5545)."},
    "timezone": {"type": ["string", "null"], "description": "IANA name; UTC if absent."},
}
_SCHEDULE = {
    "type": "object",
    "properties": {
        **_TIMING,
        "schedule": {"type": "object", "properties": _TIMING, "additionalProperties": False},
        "active": {"type": "boolean", "description": "Left as it is live if absent."},
        "slug": {"type": "string", "description": "Prefect 3: the name of the schedule."},
        "parameters": {"type": "object", "description": "Prefect 3: over the deployment's."},
    },
    "additionalProperties": False,
}
_TRIGGER = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "<deployment>__automation_<number> if absent."},
        "description": {"type": "string"},
        "enabled": {"type": "boolean", "description": "Left as it is live if absent."},
        "parameters": {**_MAPPING, "description": "Of the run, over the deployment's."},
        "job_variables": {**_MAPPING, "description": "Of the run, over the deployment's."},
        "schedule_after": {"type": "number", "description": "Prefect 3: seconds until it starts."},
        "type": {"enum": list(TRIGGERS), "description": "event, unless its keys say otherwise."},
        **{key: {} for keys in TRIGGERS.values() for key in keys},
    },
    "additionalProperties": False,
}


def document_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the native shape."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Deployment",
        "type": "object",
        "required": ["kind", "flow_name", "name"],
        "properties": {
            "kind": {"const": "Deployment"},
            "flow_name": {**_NAME, "description": "The flow; made if it does not exist."},
            "name": {**_NAME, "description": "Of the deployment, unique for its flow."},
            **_properties(),
        },
        "additionalProperties": False,
    }


def _properties() -> dict[str, Any]:
    return {
        "description": {**_TEXT, "description": "Shown in Prefect's pages; Markdown."},
        "version": {**_TEXT, "description": "Any text."},
        "tags": {"type": ["array", "null"], "items": {"type": "string"}},
        "parameters": {**_MAPPING, "description": "Of every run, unless the run says otherwise."},
        "schedules": {"type": ["array", "null"], "items": _SCHEDULE},
        "schedule": {"anyOf": [_SCHEDULE, {"type": "null"}], "description": "A single one."},
        "paused": {"type": ["boolean", "null"], "description": "Nothing is scheduled meanwhile."},
        "is_schedule_active": {
            "type": ["boolean", "null"],
            "description": "The opposite of paused.",
        },
        "path": {**_TEXT, "description": "Where the code is; $STORAGE_BASE_PATH: this repository."},
        "entrypoint": {**_TEXT, "description": "flows/etl.py:etl or package.module.flow."},
        "infrastructure": {
            "anyOf": [_BLOCK, {"type": "object", "description": "A block written here."}]
        },
        "storage": _BLOCK,
        "pull_steps": {"type": ["array", "null"], "items": {"type": "object"}},
        "job_variables": {**_MAPPING, "description": "Over the infrastructure's; dotted keys."},
        "infra_overrides": {**_MAPPING, "description": "The same as job_variables."},
        "work_queue_name": {**_TEXT, "description": "default, unless a work pool is named."},
        "work_pool_name": {**_TEXT, "description": "default-agent-pool if absent."},
        "triggers": {
            "type": ["array", "null"],
            "items": _TRIGGER,
            "description": "Events that start a run; each becomes an automation.",
        },
        "parameter_openapi_schema": {**_MAPPING, "description": "What the parameters must be."},
        "enforce_parameter_schema": {"type": ["boolean", "null"]},
        "manifest_path": {**_TEXT, "description": "Prefect 2 only."},
        "concurrency_limit": {"type": ["integer", "object", "null"], "exclusiveMinimum": 0},
        "concurrency_options": {
            "type": ["object", "null"],
            "required": ["collision_strategy"],
            "properties": {
                "collision_strategy": {"enum": list(STRATEGIES)},
                "grace_period_seconds": {"type": ["integer", "null"]},
            },
            "additionalProperties": False,
        },
        "labels": {"type": ["object", "null"], "description": "Prefect 3 only."},
    }
