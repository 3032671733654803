"""`docker-container` and the registry that it may log in to."""

from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, SecretStr

from reconciler.blocks.base import BlockSettings, InfrastructureSettings, Text


class DockerRegistrySettings(BlockSettings):
    """Credentials for a registry of container images."""

    model_config = ConfigDict(title="DockerRegistry")

    slug: ClassVar[str] = "docker-registry"
    type_name: ClassVar[str] = "Docker Registry"
    capabilities: ClassVar[tuple[str, ...]] = ("docker-login",)
    schema_version: ClassVar[str] = "2.20.26"

    username: Text = Field(description="User to log in as.")
    password: SecretStr = Field(description="Password or token of that user.")
    registry_url: Text = Field(description="Address of the registry, with or without scheme.")
    reauth: bool = Field(
        True,  # noqa: FBT003
        description="Log in again each time, whatever login the engine remembers.",
    )


class ImagePullPolicy(StrEnum):
    """When to pull the image."""

    IF_NOT_PRESENT = "IF_NOT_PRESENT"
    ALWAYS = "ALWAYS"
    NEVER = "NEVER"


class DockerContainerSettings(InfrastructureSettings):
    """Runs a flow in a container of a Docker engine."""

    model_config = ConfigDict(title="DockerContainer")

    slug: ClassVar[str] = "docker-container"
    type_name: ClassVar[str] = "Docker Container"
    schema_version: ClassVar[str] = "2.20.26"

    type: Literal["docker-container"] = Field(
        "docker-container", description="Says that this is a Docker container."
    )
    image: Text | None = Field(
        None, description="Image to run; by default Prefect's image for the server's version."
    )
    image_pull_policy: ImagePullPolicy | None = Field(None, description="When to pull the image.")
    image_registry: DockerRegistrySettings | None = Field(
        None, description="Registry to log in to before pulling."
    )
    networks: list[Text] = Field(default_factory=list, description="Docker networks to join.")
    network_mode: Text | None = Field(
        None, description="Network mode such as host or bridge; excludes networks."
    )
    auto_remove: bool = Field(
        False,  # noqa: FBT003
        description="Remove the container when it ends.",
    )
    volumes: list[Text] = Field(
        default_factory=list, description="Mounts, each as host path, colon, container path."
    )
    stream_output: bool = Field(
        True,  # noqa: FBT003
        description="Show the container's output in the agent's.",
    )
    memswap_limit: int | str | None = Field(
        None, description="Limit of memory and swap together; -1 for no limit on swap."
    )
    mem_limit: float | str | None = Field(
        None, description="Memory limit, in bytes or with a unit such as 512m."
    )
    privileged: bool = Field(
        False,  # noqa: FBT003
        description="Run with extended privileges.",
    )
