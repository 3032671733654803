"""One launcher per infrastructure type, and the tuple that names them all."""

from reconciler.infrastructure.azure import AzureLauncher
from reconciler.infrastructure.base import Launcher, Surroundings
from reconciler.infrastructure.cloud_run import CloudRunLauncher
from reconciler.infrastructure.docker import DockerLauncher
from reconciler.infrastructure.ecs import EcsLauncher
from reconciler.infrastructure.kubernetes import KubernetesLauncher
from reconciler.infrastructure.process import ProcessLauncher

__all__ = ["INFRASTRUCTURE", "Launcher", "Surroundings", "launchers"]

INFRASTRUCTURE = (
    ProcessLauncher,
    DockerLauncher,
    KubernetesLauncher,
    EcsLauncher,
    CloudRunLauncher,
    AzureLauncher,
)
"""Every launcher class; each is made from `Surroundings`."""


def launchers(surroundings: Surroundings) -> dict[str, Launcher]:
    """Make one launcher of each type, by the slug of its block type."""
    return {made.slug: made(surroundings) for made in INFRASTRUCTURE}
