"""Azure's clients and credentials, made from a block and the settings of the platform."""

from dataclasses import dataclass
from typing import Any

from reconciler.blocks.azure import AzureContainerInstanceCredentialsSettings
from reconciler.infrastructure.base import NotLaunchable
from reconciler.settings import PlatformSettings

MISSING = "Azure container instances need the extra: pip install 'prefect-reconciler[azure]'"

_MANAGEMENT = "https://management.azure.com"
_CONNECT_SECONDS, _WAIT_SECONDS = 10, 30


@dataclass(slots=True)
class Clients:
    """What is made once for a subscription and its credentials."""

    groups: Any
    containers: Any
    resources: Any


def connect(
    block: AzureContainerInstanceCredentialsSettings, subscription: str, platforms: PlatformSettings
) -> Clients:
    """Make the clients.

    Raises:
        NotLaunchable: the extra is missing, or the credentials can't be used.
    """
    try:
        from azure.mgmt.containerinstance import (  # noqa: PLC0415 - an extra
            ContainerInstanceManagementClient,
        )
        from azure.mgmt.resource.resources import (  # noqa: PLC0415 - an extra
            ResourceManagementClient,
        )
    except ImportError:
        raise NotLaunchable(MISSING) from None
    endpoint = (platforms.azure_endpoint or _MANAGEMENT).rstrip("/")
    options: dict[str, Any] = {
        "base_url": endpoint,
        "credential_scopes": [f"{endpoint}/.default"],
        "retry_total": 0,  # ours are cancelled with the run, and honour the clock of tests
        "connection_timeout": _CONNECT_SECONDS,
        "read_timeout": _WAIT_SECONDS,
        **_trust(platforms),
    }
    known = _credential(block, platforms)
    instances = ContainerInstanceManagementClient(known, subscription, **options)
    return Clients(
        groups=instances.container_groups,
        containers=instances.containers,
        resources=ResourceManagementClient(known, subscription, **options),
    )


def _credential(
    block: AzureContainerInstanceCredentialsSettings, platforms: PlatformSettings
) -> Any:
    from azure.identity import (  # noqa: PLC0415 - an extra
        ClientSecretCredential,
        DefaultAzureCredential,
    )

    options: dict[str, Any] = {"retry_total": 0, **_trust(platforms)}
    if platforms.azure_authority is not None:
        # The address is ours; Microsoft's directory of clouds may not know it.
        options |= {"authority": platforms.azure_authority, "disable_instance_discovery": True}
    options |= block.credential_kwargs
    tenant, client, secret = block.tenant_id, block.client_id, block.client_secret
    try:
        if secret is None:
            return DefaultAzureCredential(**options)
        if tenant is None or client is None:
            raise NotLaunchable(
                "aci_credentials: client_secret needs tenant_id and client_id beside it"
            )
        return ClientSecretCredential(tenant, client, secret.get_secret_value(), **options)
    except (TypeError, ValueError) as error:
        text = f"aci_credentials can't be used ({type(error).__name__}): check credential_kwargs"
        raise NotLaunchable(text) from None


def _trust(platforms: PlatformSettings) -> dict[str, str]:
    return {} if platforms.ca_file is None else {"connection_verify": str(platforms.ca_file)}
