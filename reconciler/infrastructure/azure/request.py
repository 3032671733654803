"""The container group that is made for a flow run. Pure.

The body is that of Azure's REST API 2023-05-01, `PUT …/containerGroups/{name}`; the rules are those
of prefect-azure 0.3.11 (facts/infrastructure-blocks.md). It differs where that showed secrets to
everybody who may read the group, or sent a variable without a value.
"""

from collections.abc import Mapping
from typing import Any

from slugify import slugify

from reconciler.blocks.azure import ACRManagedIdentity, AzureContainerInstanceJobSettings
from reconciler.infrastructure.base import NotLaunchable
from reconciler.model.launch import LaunchSpec

TOKEN_TAG = "reconciler-launch-token"  # noqa: S105 - the name of a tag
RUN_TAG = "reconciler-flow-run-id"
DEFAULT_COMMAND = ("prefect", "flow-run", "execute")

_OPEN = frozenset({"PREFECT__FLOW_RUN_ID", "PREFECT_API_URL"})
"""Variables that the portal may show. All others are secure: who knows what they hold."""
_LONGEST_NAME = 63


def group_name(spec: LaunchSpec) -> str:
    """Return the name of the group, and of its container: a readable part, then the launch token.

    Prefect put ten random characters there. A group of one name exists once in a resource group.
    """
    room = _LONGEST_NAME - len(spec.token) - 1
    readable = slugify(spec.name, max_length=room, regex_pattern=r"[^a-zA-Z0-9-]+").strip("-")
    return f"{readable or 'flow-run'}-{spec.token}"


def container_group(spec: LaunchSpec, image: str, location: str) -> dict[str, Any]:
    """Return the body that makes the group.

    Args:
        spec: the launch; its settings are `AzureContainerInstanceJobSettings`.
        image: the default image.
        location: of the resource group, `westeurope`.

    Raises:
        NotLaunchable: a setting can't be used; the message names it.
    """
    settings = settings_of(spec)
    properties: dict[str, Any] = {
        "osType": "Linux",
        "restartPolicy": "Never",
        "containers": [
            {
                "name": group_name(spec),
                "properties": {
                    "image": settings.image or image,
                    "command": _command(spec, settings),
                    "environmentVariables": _variables(spec.env),
                    "resources": {"requests": _resources(settings)},
                },
            }
        ],
    }
    if settings.image_registry is not None:
        properties["imageRegistryCredentials"] = [_registry(settings)]
    if settings.subnet_ids:
        properties["subnetIds"] = [{"id": subnet} for subnet in settings.subnet_ids]
    if settings.dns_servers:
        properties["dnsConfig"] = {"nameServers": list(settings.dns_servers)}
    body: dict[str, Any] = {
        "location": location,
        "tags": {TOKEN_TAG: spec.token, RUN_TAG: spec.flow_run_id},
        "properties": properties,
    }
    if settings.identities:
        owned: dict[str, Any] = {identity: {} for identity in settings.identities}
        body["identity"] = {"type": "UserAssigned", "userAssignedIdentities": owned}
    return body


def settings_of(spec: LaunchSpec) -> AzureContainerInstanceJobSettings:
    """Return a launch's settings as what they are."""
    assert isinstance(spec.settings, AzureContainerInstanceJobSettings)  # noqa: S101 - for the type checker
    return spec.settings


def _command(spec: LaunchSpec, settings: AzureContainerInstanceJobSettings) -> list[str]:
    command = spec.command or DEFAULT_COMMAND
    return [settings.entrypoint, *command] if settings.entrypoint else list(command)


def _variables(env: Mapping[str, str | None]) -> list[dict[str, str]]:
    return [
        {"name": name, "value" if name in _OPEN else "secureValue": value}
        for name, value in env.items()
        if value is not None
    ]


def _resources(settings: AzureContainerInstanceJobSettings) -> dict[str, Any]:
    for field in ("cpu", "memory"):
        if getattr(settings, field) <= 0:
            raise NotLaunchable(f"{field} must be more than 0")
    if (settings.gpu_count is None) != (settings.gpu_sku is None):
        raise NotLaunchable("gpu_count and gpu_sku need each other")
    made: dict[str, Any] = {"cpu": settings.cpu, "memoryInGB": settings.memory}
    if settings.gpu_count is not None:
        made["gpu"] = {"count": settings.gpu_count, "sku": settings.gpu_sku}
    return made


def _registry(settings: AzureContainerInstanceJobSettings) -> dict[str, str]:
    registry = settings.image_registry
    if isinstance(registry, ACRManagedIdentity):
        return {"server": _host(registry.registry_url), "identity": registry.identity}
    assert registry is not None  # noqa: S101 - for the type checker
    return {
        "server": _host(registry.registry_url),
        "username": registry.username,
        "password": registry.password.get_secret_value(),
    }


def _host(url: str) -> str:
    """Return the server that Azure wants: a name without a scheme."""
    return (url.partition("://")[2] or url).rstrip("/")
