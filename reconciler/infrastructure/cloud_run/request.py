"""The Cloud Run job that is made for a flow run. Pure.

The body is that of the Cloud Run Admin API v2, `projects.locations.jobs.create`; the rules are those
of prefect-gcp 0.5.17 (facts/infrastructure-blocks.md). It differs where that ran a flow more than
once: Prefect's default lets Cloud Run repeat a failed run three times.
"""

import re
from collections.abc import Mapping
from typing import Any

from reconciler.blocks.gcp import CloudRunJobSettings
from reconciler.infrastructure.base import NotLaunchable
from reconciler.model.launch import LaunchSpec

TOKEN_LABEL = "reconciler-launch-token"  # noqa: S105 - the name of a label
RUN_LABEL = "reconciler-flow-run-id"
START = "reconciler.io/start"
"""Annotation with the mark of the last try to run the job."""
DEFAULT_COMMAND = ("prefect", "flow-run", "execute")

_MILLI = 1000
_LONGEST_LABEL = 63
_ODD = re.compile(r"[^a-z0-9_-]+")


def job_id(token: str) -> str:
    """Return the id of the job of a launch.

    It depends on the token alone, so that any agent finds the job without knowing what the block
    was; Prefect took a part of the image's name and a random one. The API refuses a second of one id.
    """
    return f"prefect-{token}"


def job(spec: LaunchSpec) -> dict[str, Any]:
    """Return the body that makes the job; making it runs nothing.

    Raises:
        NotLaunchable: a setting can't be used; the message names it.
    """
    settings = settings_of(spec)
    container: dict[str, Any] = {
        "image": settings.image,
        "command": list(spec.command or DEFAULT_COMMAND),
        "env": [
            {"name": name, "value": value} for name, value in spec.env.items() if value is not None
        ],
    }
    if settings.args:
        container["args"] = list(settings.args)
    limits = _limits(settings)
    if limits:
        container["resources"] = {"limits": limits}
    task: dict[str, Any] = {"containers": [container], "maxRetries": _retries(settings)}
    if settings.timeout is not None:
        task["timeout"] = f"{settings.timeout}s"
    if settings.vpc_connector_name:
        task["vpcAccess"] = {"connector": settings.vpc_connector_name}
    return {
        "labels": {**labels(spec.labels), TOKEN_LABEL: spec.token, RUN_LABEL: spec.flow_run_id},
        "launchStage": "BETA",  # as Prefect's annotation says
        "template": {"taskCount": 1, "parallelism": 1, "template": task},
    }


def settings_of(spec: LaunchSpec) -> CloudRunJobSettings:
    """Return a launch's settings as what they are."""
    assert isinstance(spec.settings, CloudRunJobSettings)  # noqa: S101 - for the type checker
    return spec.settings


def labels(given: Mapping[str, str]) -> dict[str, str]:
    """Return labels in the characters that Google Cloud allows; Prefect left them out."""
    made = {_label(key): _label(value) for key, value in given.items()}
    return {key: value for key, value in made.items() if key[:1].isalpha()}


def _label(text: str) -> str:
    return _ODD.sub("-", text.lower()).strip("-")[:_LONGEST_LABEL]


def _limits(settings: CloudRunJobSettings) -> dict[str, str]:
    if settings.memory is not None and settings.memory_unit is None:
        raise NotLaunchable("memory needs memory_unit: G, Gi, M or Mi")
    limits = {}
    if settings.cpu is not None:
        limits["cpu"] = f"{settings.cpu * _MILLI}m"
    if settings.memory is not None:
        limits["memory"] = f"{settings.memory}{settings.memory_unit}"
    return limits


def _retries(settings: CloudRunJobSettings) -> int:
    """Return how often Cloud Run may repeat a failed run: never, unless the block says so itself."""
    declared = "max_retries" in settings.model_fields_set
    return settings.max_retries if declared and settings.max_retries is not None else 0
