"""The task definition that a launch needs. Pure.

Rules: facts/infrastructure-blocks.md, ECSTask (prefect-aws 0.4.20). One rule differs on purpose:
the prefix of the log stream is the block's name, never the flow run's, since that made a
definition for every run.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from slugify import slugify

from reconciler.blocks.aws import EcsTaskSettings
from reconciler.infrastructure.base import NotLaunchable
from reconciler.model.launch import LaunchSpec

Definition = dict[str, Any]

CONTAINER = "prefect"
"""Name of the container that the flow runs in."""
FARGATE = frozenset({"FARGATE", "FARGATE_SPOT"})
OWN_MACHINES = frozenset({"EC2", "EXTERNAL"})
_CPU, _MEMORY = 1024, 2048
_LONGEST_FAMILY = 255
_ANSWERED_ONLY = (
    "compatibilities",
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "registeredAt",
    "registeredBy",
    "deregisteredAt",
)
"""What ECS adds to a definition and does not take back."""


def prepare(
    spec: LaunchSpec, base: Mapping[str, Any] | None, image: str, region: str | None
) -> Definition:
    """Return the definition that a launch needs, as it would be registered.

    Args:
        spec: the launch; its settings are `EcsTaskSettings`.
        base: what `task_definition_arn` names, as ECS describes it; None without one.
        image: what to run where neither the block nor the definition says.
        region: of CloudWatch.

    Raises:
        NotLaunchable: the settings contradict each other.
    """
    settings = settings_of(spec)
    made = _base(settings, base)
    container = _container(made)
    container["image"] = settings.image or container.get("image") or image
    _drop_unset(container, spec.env)
    if _wants_logs(settings, made):
        container["logConfiguration"] = _logs(settings, region)
    made["family"] = _family(spec, settings, made)
    _size(settings, made, container)
    if settings.execution_role_arn and base is None:
        made["executionRoleArn"] = settings.execution_role_arn
    return made


def settings_of(spec: LaunchSpec) -> EcsTaskSettings:
    """Return the settings of a launch, which are those of this type."""
    assert isinstance(spec.settings, EcsTaskSettings)  # noqa: S101 - for the type checker
    return spec.settings


def flow_container(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definition of the container that the flow runs in; empty if there is none."""
    found = (c for c in definition.get("containerDefinitions", ()) if c.get("name") == CONTAINER)
    return next(found, {})


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two definitions mean the same, whichever of them ECS told."""
    return digest(one) == digest(other)


def digest(definition: Mapping[str, Any]) -> str:
    """Return what tells one content from another: equal for what was sent and what ECS tells."""
    text = json.dumps(_comparable(definition), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _comparable(definition: Mapping[str, Any]) -> Any:
    """Bring defaults, empty values and order into one form."""
    made = deepcopy(dict(definition))
    for name in (*_ANSWERED_ONLY, "tags"):
        made.pop(name, None)
    made.setdefault("networkMode", "bridge")
    for container in made.get("containerDefinitions", ()):
        container.setdefault("essential", True)
        for name in ("environment", "secrets"):
            if name in container:
                container[name] = sorted(container[name], key=lambda one: str(one.get("name")))
    return _filled(made)


def _filled(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {name: _filled(one) for name, one in value.items()}
        return {name: one for name, one in kept.items() if one}
    return [_filled(one) for one in value] if isinstance(value, list) else value


def _base(settings: EcsTaskSettings, base: Mapping[str, Any] | None) -> Definition:
    made = deepcopy(dict(settings.task_definition or {} if base is None else base))
    for name in _ANSWERED_ONLY:
        made.pop(name, None)
    containers = made.setdefault("containerDefinitions", [])
    if not isinstance(containers, list) or not all(isinstance(c, dict) for c in containers):
        raise NotLaunchable("task_definition.containerDefinitions must be a list of mappings")
    return made


def _container(made: Definition) -> dict[str, Any]:
    container = flow_container(made)
    if not container:
        container = {"name": CONTAINER}
        made["containerDefinitions"].append(container)
    return container


def _drop_unset(container: dict[str, Any], env: Mapping[str, str | None]) -> None:
    unset = {name for name, value in env.items() if value is None}
    if "environment" in container:
        kept = [one for one in container["environment"] if one.get("name") not in unset]
        container["environment"] = kept


def _wants_logs(settings: EcsTaskSettings, made: Definition) -> bool:
    """Tell whether the awslogs driver is to be configured, and whether it can be."""
    wished = settings.configure_cloudwatch_logs
    if wished is None:
        wished = bool(settings.stream_output)
    if settings.cloudwatch_logs_options and not wished:
        raise NotLaunchable("cloudwatch_logs_options needs configure_cloudwatch_logs")
    role = settings.execution_role_arn or made.get("executionRoleArn")
    if wished and not role and not settings.task_definition_arn:
        raise NotLaunchable(
            "logs in CloudWatch need execution_role_arn, a role that may write them "
            "(configure_cloudwatch_logs or stream_output is on)"
        )
    return wished


def _logs(settings: EcsTaskSettings, region: str | None) -> dict[str, Any]:
    options = {
        "awslogs-create-group": "true",
        "awslogs-group": "prefect",
        **({"awslogs-region": region} if region else {}),
        "awslogs-stream-prefix": settings.name or "prefect",
        **settings.cloudwatch_logs_options,
    }
    return {"logDriver": "awslogs", "options": options}


def _family(spec: LaunchSpec, settings: EcsTaskSettings, made: Definition) -> str:
    """Return the family: the block's or the definition's as written, else Prefect's name for it."""
    given = settings.family or made.get("family")
    if given:
        named = str(given)
        if re.fullmatch("[a-zA-Z0-9_-]{1,255}", named):
            return named
        return _slug(named, lowercase=False)
    flow = spec.labels.get("prefect.io/flow-name", "flow")
    deployment = spec.labels.get("prefect.io/deployment-name", "deployment")
    return _slug(f"prefect__{flow}__{deployment}", lowercase=True)


def _slug(text: str, *, lowercase: bool) -> str:
    pattern = "[^a-zA-Z0-9-_]+"
    return str(
        slugify(text, max_length=_LONGEST_FAMILY, regex_pattern=pattern, lowercase=lowercase)
    )


def _size(settings: EcsTaskSettings, made: Definition, container: dict[str, Any]) -> None:
    """Say how much CPU and memory: of the task on Fargate, of the container on own machines.

    Prefect leaves it out on EXTERNAL, where ECS refuses a container without memory.
    """
    cpu = settings.cpu or made.get("cpu") or _CPU
    memory = settings.memory or made.get("memory") or _MEMORY
    if settings.launch_type in FARGATE:
        made["cpu"], made["memory"] = str(cpu), str(memory)
        needed = made.setdefault("requiresCompatibilities", [])
        if "FARGATE" not in needed:
            needed.append("FARGATE")
        made.setdefault("networkMode", "awsvpc")
    elif settings.launch_type in OWN_MACHINES:
        container.setdefault("cpu", _whole(cpu, "cpu"))
        container.setdefault("memory", _whole(memory, "memory"))


def _whole(value: object, name: str) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise NotLaunchable(f"task_definition.{name} must be a number unless on Fargate") from None
