"""`azure-container-instance-job` and the credentials for it."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, SecretStr

from reconciler.blocks.base import BlockSettings, Environment, InfrastructureSettings, Part, Text
from reconciler.blocks.docker import DockerRegistrySettings


class AzureContainerInstanceCredentialsSettings(BlockSettings):
    """Credentials for Azure; what is left out is looked up as Azure's client does."""

    model_config = ConfigDict(title="AzureContainerInstanceCredentials")

    slug: ClassVar[str] = "azure-container-instance-credentials"
    type_name: ClassVar[str] = "Azure Container Instance Credentials"
    schema_version: ClassVar[str] = "0.3.11"

    client_id: Text | None = Field(
        None, title="Client ID", description="Id of the service principal."
    )
    tenant_id: Text | None = Field(None, title="Tenant ID", description="Tenant it belongs to.")
    client_secret: SecretStr | None = Field(None, description="Secret of the service principal.")
    credential_kwargs: dict[str, Any] = Field(
        default_factory=dict,
        title="Additional Credential Keyword Arguments",
        description="Further options of Azure's default credential.",
    )


class ACRManagedIdentity(Part):
    """A managed identity that may pull from an Azure registry."""

    registry_url: Text = Field(title="Registry URL", description="Address of the registry.")
    identity: Text = Field(description="Resource id of the identity.")


def _slug_or_type(value: object) -> object:
    """Take the slug for the value of `type` too; Prefect's two names for it confuse everybody."""
    return "container-instance-job" if value == "azure-container-instance-job" else value


class AzureContainerInstanceJobSettings(InfrastructureSettings):
    """Runs a flow in an Azure container instance."""

    model_config = ConfigDict(title="AzureContainerInstanceJob")

    slug: ClassVar[str] = "azure-container-instance-job"
    type_name: ClassVar[str] = "Azure Container Instance Job"
    schema_version: ClassVar[str] = "0.3.11"
    aliases: ClassVar[tuple[str, ...]] = ("container-instance-job",)

    type: Annotated[Literal["container-instance-job"], BeforeValidator(_slug_or_type)] = Field(
        "container-instance-job", description="Says that this is an Azure container instance."
    )
    env: Environment = Field(
        default_factory=dict,
        title="Environment Variables",
        description="Environment variables of the flow run; null unsets one.",
    )
    aci_credentials: AzureContainerInstanceCredentialsSettings = Field(
        default_factory=AzureContainerInstanceCredentialsSettings,
        description="Credentials to use; by default the agent's own.",
    )
    resource_group_name: Text = Field(
        title="Azure Resource Group Name", description="Resource group of the container."
    )
    subscription_id: SecretStr = Field(
        title="Azure Subscription ID", description="Subscription that pays for it."
    )
    identities: list[Text] | None = Field(
        None, description="Resource ids of identities that the container gets."
    )
    image: Text | None = Field(
        None, description="Image to run; by default Prefect's image for the server's version."
    )
    entrypoint: Text | None = Field(
        "/opt/prefect/entrypoint.sh", description="Program put before the command."
    )
    image_registry: DockerRegistrySettings | ACRManagedIdentity | None = Field(
        None,
        title="Image Registry (Optional)",
        description="Registry to log in to, or an identity that may pull.",
    )
    cpu: float = Field(1.0, title="CPU", description="Number of CPUs.")
    gpu_count: int | None = Field(None, title="GPU Count", description="Number of GPUs.")
    gpu_sku: Text | None = Field(None, title="GPU SKU", description="Kind of the GPUs.")
    memory: float = Field(1.0, description="Memory in gigabytes.")
    subnet_ids: list[Text] | None = Field(None, title="Subnet IDs", description="Subnets to join.")
    dns_servers: list[Text] | None = Field(
        None, title="DNS Servers", description="Name servers to ask."
    )
    stream_output: bool | None = Field(
        None, description="Show the container's output in the agent's."
    )
    task_start_timeout_seconds: int = Field(
        240, description="Seconds to wait for the container to start."
    )
    task_watch_poll_interval: float = Field(
        5.0, description="Seconds between looks at the container."
    )
