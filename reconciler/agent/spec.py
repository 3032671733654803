"""The launch spec: deployment, flow and block become typed settings, environment and labels."""

from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from reconciler.agent.code import Checkout
from reconciler.agent.context import Context
from reconciler.api import runs
from reconciler.api.runs import FlowRun
from reconciler.blocks.registry import canonical_slug
from reconciler.errors import NotFound
from reconciler.infrastructure import Launcher
from reconciler.infrastructure.base import NotLaunchable
from reconciler.model.launch import LaunchSpec

_DEFAULT_SLUG = "process"


async def build(
    context: Context, run: FlowRun, token: str, checkout: Checkout | None
) -> tuple[LaunchSpec, Launcher]:
    """Build the launch spec of a run, and choose its launcher.

    Raises:
        NotLaunchable: what is declared can't be launched; the message is for people.
    """
    try:
        deployment = await _deployment(context, run)
        flow_name = await context.flow_name(run.flow_id)
        slug, data = await _block(context, deployment)
    except NotFound as error:
        raise NotLaunchable(f"something that the run needs was deleted: {error}") from None
    launcher = context.launchers.get(canonical_slug(slug))
    if launcher is None:
        known = ", ".join(sorted(context.launchers))
        raise NotLaunchable(f"this agent can't launch infrastructure of the type {slug} ({known})")
    data = with_overrides(data, {**deployment.get("job_variables", {}), **run.job_variables})
    try:
        settings = launcher.settings.model_validate(data)
    except ValidationError as error:
        raise NotLaunchable(f"the {slug} block can't be used: {explain(error)}") from None
    spec = LaunchSpec(
        token=token,
        flow_run_id=run.id,
        name=settings.name or run.name,
        type=launcher.slug,
        settings=settings,
        env={**_base_environment(context, run, launcher, checkout), **settings.env},
        labels={**_labels(context, run, deployment, flow_name), **settings.labels},
        command=tuple(settings.command) if settings.command else None,
        code=checkout.path if launcher.local and checkout is not None else None,
    )
    return spec, launcher


def with_overrides(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Apply overrides, dotted paths, to a block's data; what is missing on the way is made.

    Raises:
        NotLaunchable: a path leads through something that is no mapping; the message names it.
    """
    result = deepcopy(dict(data))
    for path, value in overrides.items():
        *way, last = path.split(".")
        place = result
        for number, step in enumerate(way, 1):
            if place.get(step) is None:
                place[step] = {}
            place = place[step]
            if not isinstance(place, dict):
                where = ".".join(way[:number])
                raise NotLaunchable(
                    f"the override {path!r} can't be applied: {where!r} is no mapping"
                )
        place[last] = deepcopy(value)
    return result


async def _deployment(context: Context, run: FlowRun) -> dict[str, Any]:
    if run.deployment_id is None:
        raise NotLaunchable("the flow run has no deployment any more")
    return await runs.read_deployment(context.api, run.deployment_id)


async def _block(context: Context, deployment: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return slug and data; a deployment without infrastructure gets a plain process (facts)."""
    document_id = deployment.get("infrastructure_document_id")
    if document_id is None:
        return _DEFAULT_SLUG, {}
    document = await runs.read_block(context.api, document_id)
    return document["block_type"]["slug"], document["data"]


def _base_environment(
    context: Context, run: FlowRun, launcher: Launcher, checkout: Checkout | None
) -> dict[str, str]:
    env = {**context.options.environment, "PREFECT__FLOW_RUN_ID": run.id}
    if launcher.local and checkout is not None:
        env["PREFECT__STORAGE_BASE_PATH"] = str(checkout.path)
    return env


def _labels(
    context: Context, run: FlowRun, deployment: Mapping[str, Any], flow_name: str
) -> dict[str, str]:
    """Return Prefect's labels, in its order (facts: run, deployment, flow)."""
    labels = {
        "prefect.io/flow-run-id": run.id,
        "prefect.io/flow-run-name": run.name,
        "prefect.io/version": str(context.api.facts.version),
        "prefect.io/deployment-name": str(deployment["name"]),
    }
    if deployment.get("updated"):
        updated = datetime.fromisoformat(deployment["updated"]).astimezone(UTC)
        labels["prefect.io/deployment-updated"] = updated.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    labels["prefect.io/flow-name"] = flow_name
    return labels


def explain(error: ValidationError) -> str:
    """Name the fields and what is wrong, never their values: they may be secret."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(str(at) for at in one['loc'])}: {one['msg']}" for one in found)
