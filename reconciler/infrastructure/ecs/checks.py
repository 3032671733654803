"""What makes a launch on ECS impossible, found before anything is launched."""

from typing import Any

from reconciler.blocks.aws import EcsTaskSettings
from reconciler.blocks.images import is_reference
from reconciler.errors import Transient
from reconciler.infrastructure.base import NotLaunchable
from reconciler.infrastructure.base.addresses import is_of_this_machine
from reconciler.infrastructure.ecs.client import Account
from reconciler.infrastructure.ecs.definition import flow_container, prepare
from reconciler.infrastructure.ecs.network import Networks
from reconciler.infrastructure.ecs.request import (
    cluster_of,
    needs_subnets,
    network_of,
    run_task,
)
from reconciler.model.launch import LaunchSpec

_TRIAL = "00000000-0000-8000-8000-000000000000"


def offline(settings: EcsTaskSettings, api_url: str, image: str) -> list[str]:
    """Say what is wrong with settings as such. Pure.

    Args:
        settings: of the block.
        api_url: Prefect's API as flow runs are told it.
        image: the default image.
    """
    problems = []
    try:
        image_named = _dry_run(settings, api_url, image)
        if not is_reference(image_named):
            problems.append(f"image {image_named!r} is no reference of a container image")
    except NotLaunchable as error:
        problems.append(error.message)
    if is_of_this_machine(api_url):
        problems.append(
            f"a task can't reach the Prefect API at {api_url}: set an address that AWS can reach"
        )
    return problems


def _dry_run(settings: EcsTaskSettings, api_url: str, image: str) -> str:
    """Make the requests of a launch that isn't, for their faults; return the image.

    With `task_definition_arn` the rest of the definition isn't known, so nothing is tried on it.
    """
    spec = _trial(settings, api_url)
    made = prepare(spec, None, image, settings.aws_credentials.region_name)
    if not settings.task_definition_arn:
        awsvpc = needs_subnets(settings, made) is not None
        run_task(spec, "arn", made, network_of(settings, ["subnet"]) if awsvpc else None)
    return str(flow_container(made)["image"])


def _trial(settings: EcsTaskSettings, api_url: str) -> LaunchSpec:
    env = {"PREFECT_API_URL": api_url, "PREFECT__FLOW_RUN_ID": _TRIAL, **settings.env}
    labels = {"prefect.io/flow-run-id": _TRIAL, **settings.labels}
    return LaunchSpec(_TRIAL, _TRIAL, "preflight", settings.slug, settings, env, labels)


async def online(account: Account, settings: EcsTaskSettings, networks: Networks) -> list[str]:
    """Say what AWS lacks: credentials that are valid, the cluster, the definition, the network."""
    try:
        problems = await _cluster(account, settings)
        if settings.task_definition_arn:
            arn = settings.task_definition_arn
            answer = await account.read("ecs:describe_task_definition", taskDefinition=arn)
            definition: dict[str, Any] = answer["taskDefinition"]
        else:
            definition = prepare(_trial(settings, ""), None, "image", account.region)
        await networks.of(account, settings, definition)
    except (NotLaunchable, Transient) as error:
        return [error.message]
    return problems


async def _cluster(account: Account, settings: EcsTaskSettings) -> list[str]:
    name = cluster_of(settings) or "default"
    answer = await account.read("ecs:describe_clusters", clusters=[name])
    found = answer.get("clusters", ())
    where = f" in {account.region}" if account.region else ""
    if not found:
        return [f"the ECS cluster {name} does not exist{where}: check cluster"]
    status = found[0].get("status", "ACTIVE")
    return [] if status == "ACTIVE" else [f"the ECS cluster {name} is {status}"]
