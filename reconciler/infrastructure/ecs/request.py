"""The RunTask request of a launch. Pure. Rules: facts/infrastructure-blocks.md, ECSTask."""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from slugify import slugify

from reconciler.blocks.aws import EcsTaskSettings
from reconciler.infrastructure.base import NotLaunchable
from reconciler.infrastructure.base.patches import patched
from reconciler.infrastructure.ecs.definition import (
    CONTAINER,
    OWN_MACHINES,
    flow_container,
    settings_of,
)
from reconciler.model.launch import LaunchSpec

TOKEN_TAG = "reconciler.launch-token"  # noqa: S105 - a name; the token is no secret
_COMMAND = ("prefect", "flow-run", "execute")
_LONGEST_KEY, _LONGEST_VALUE = 128, 256
_NETWORK = (
    "/networkConfiguration",
    "/networkConfiguration/awsvpcConfiguration",
    "/networkConfiguration/awsvpcConfiguration/subnets",
)
_TASK_ARN = re.compile("(?P<cluster>.+)::(?P<arn>arn:[^:]+:ecs:(?P<region>[^:]+):[^:]*:task/.+)")


def run_task(
    spec: LaunchSpec, arn: str, definition: Mapping[str, Any], network: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the arguments of RunTask.

    Args:
        spec: the launch; its settings are `EcsTaskSettings`.
        arn: of the registered task definition.
        definition: what is registered there.
        network: the network configuration, None where the network mode takes none.

    Raises:
        NotLaunchable: `task_customizations` can't be applied; the message names the operation.
    """
    settings = settings_of(spec)
    made: dict[str, Any] = {
        "taskDefinition": arn,
        "count": 1,
        "clientToken": spec.token,
        "startedBy": spec.token,
        "overrides": _overrides(spec, settings, definition),
        "tags": tags({**spec.labels, TOKEN_TAG: spec.token}),
    }
    if settings.cluster:
        made["cluster"] = settings.cluster
    if settings.launch_type == "FARGATE_SPOT":
        made["capacityProviderStrategy"] = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    elif settings.launch_type:
        made["launchType"] = settings.launch_type
    if network is not None:
        made["networkConfiguration"] = deepcopy(dict(network))
    changed = patched("task_customizations", settings.task_customizations, made)
    if not isinstance(changed, dict):
        raise NotLaunchable("task_customizations must leave the request a mapping")
    return _one_of_ours(changed, spec.token)


def cluster_of(settings: EcsTaskSettings) -> str | None:
    """Return the cluster that a launch goes to, customisations included; None for the default."""
    cluster: str | None = settings.cluster
    for operation in settings.task_customizations:
        if operation.get("path") == "/cluster":
            given = operation.get("op") in {"add", "replace"}
            cluster = str(operation.get("value")) if given else None
    return cluster


def pid_of(cluster: str | None, arn: str, cluster_arn: str) -> str:
    """Return Prefect's `infrastructure_pid` of a task: the cluster as configured, or its ARN."""
    return f"{cluster or cluster_arn}::{arn}"


def parse_pid(pid: str) -> tuple[str, str, str] | None:
    """Return cluster, task ARN and region of an `infrastructure_pid`; None if it is no task's."""
    match = _TASK_ARN.fullmatch(pid)
    return None if match is None else (match["cluster"], match["arn"], match["region"])


def needs_subnets(settings: EcsTaskSettings, definition: Mapping[str, Any]) -> bool | None:
    """Tell whether subnets must be looked up; None if the task has no network of its own.

    They need not be where `task_customizations` gives them: an account without a default VPC.
    """
    if definition.get("networkMode") != "awsvpc":
        return None
    given = (
        one.get("path") in _NETWORK and one.get("op") in {"add", "replace"}
        for one in settings.task_customizations
    )
    return not any(given)


def network_of(settings: EcsTaskSettings, subnets: list[str]) -> dict[str, Any]:
    """Return the network configuration of a task in these subnets.

    Prefect asks for a public address everywhere; ECS refuses that on one's own instances.
    """
    public = "DISABLED" if settings.launch_type in OWN_MACHINES else "ENABLED"
    configuration = {"subnets": list(subnets), "assignPublicIp": public, "securityGroups": []}
    return {"awsvpcConfiguration": configuration}


def tags(labels: Mapping[str, str]) -> list[dict[str, str]]:
    """Return labels as tags, in the characters that ECS allows."""
    made = {_tag(key)[:_LONGEST_KEY]: _tag(value)[:_LONGEST_VALUE] for key, value in labels.items()}
    return [{"key": key, "value": value} for key, value in made.items() if key]


def _one_of_ours(request: dict[str, Any], token: str) -> dict[str, Any]:
    """Check that the request still runs one task that can be found again."""
    for field, value in (("clientToken", token), ("startedBy", token), ("count", 1)):
        if request.get(field) != value:
            text = f"task_customizations may not change {field}: a run is launched once by it"
            raise NotLaunchable(text)
    return request


def _overrides(
    spec: LaunchSpec, settings: EcsTaskSettings, definition: Mapping[str, Any]
) -> dict[str, Any]:
    # A variable that the definition takes from a secret store must not be put over it in the open.
    secret = {one.get("name") for one in flow_container(definition).get("secrets", ())}
    environment = [
        {"name": name, "value": value}
        for name, value in spec.env.items()
        if value is not None and name not in secret
    ]
    container: dict[str, Any] = {"name": CONTAINER, "environment": environment}
    container["command"] = list(spec.command or _COMMAND)
    made: dict[str, Any] = {"containerOverrides": [container]}
    for field, value in (("cpu", settings.cpu), ("memory", settings.memory)):
        if value:
            container[field], made[field] = value, str(value)
    if settings.execution_role_arn:
        made["executionRoleArn"] = settings.execution_role_arn
    if settings.task_role_arn:
        made["taskRoleArn"] = settings.task_role_arn
    return made


def _tag(text: str) -> str:
    pattern = "[^a-zA-Z0-9_./=+:@-]"
    return str(slugify(text, regex_pattern=pattern, allow_unicode=True, lowercase=False))
