"""The shipped block types, by slug."""

from reconciler.blocks.aws import AwsCredentialsSettings, EcsTaskSettings
from reconciler.blocks.azure import (
    AzureContainerInstanceCredentialsSettings,
    AzureContainerInstanceJobSettings,
)
from reconciler.blocks.base import BlockSettings
from reconciler.blocks.docker import DockerContainerSettings, DockerRegistrySettings
from reconciler.blocks.gcp import CloudRunJobSettings, GcpCredentialsSettings
from reconciler.blocks.kubernetes import KubernetesClusterConfigSettings, KubernetesJobSettings
from reconciler.blocks.process import ProcessSettings

BLOCK_TYPES: tuple[type[BlockSettings], ...] = (
    # What others refer to comes first: the order in which they can be registered.
    DockerRegistrySettings,
    KubernetesClusterConfigSettings,
    AwsCredentialsSettings,
    GcpCredentialsSettings,
    AzureContainerInstanceCredentialsSettings,
    ProcessSettings,
    DockerContainerSettings,
    KubernetesJobSettings,
    EcsTaskSettings,
    CloudRunJobSettings,
    AzureContainerInstanceJobSettings,
)

_BY_SLUG = {model.slug: model for model in BLOCK_TYPES}
_ALIASES = {alias: model.slug for model in BLOCK_TYPES for alias in model.aliases}


def canonical_slug(slug: str) -> str:
    """Return Prefect's slug for a spelling that manifests may use."""
    return _ALIASES.get(slug, slug)


def settings_of(slug: str) -> type[BlockSettings] | None:
    """Return the model of a shipped block type, None for every other type."""
    return _BY_SLUG.get(canonical_slug(slug))


def slugs() -> tuple[str, ...]:
    """Return the slugs of the shipped block types."""
    return tuple(_BY_SLUG)
