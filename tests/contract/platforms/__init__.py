"""The platforms of the matrix, one for each infrastructure type."""

from tests.contract.platform import Platform
from tests.contract.platforms.azure import AzurePlatform
from tests.contract.platforms.cloud_run import CloudRunPlatform
from tests.contract.platforms.docker import DockerPlatform
from tests.contract.platforms.ecs import EcsPlatform
from tests.contract.platforms.kubernetes import KubernetesPlatform
from tests.contract.platforms.process import ProcessPlatform

PLATFORMS: tuple[type[Platform], ...] = (
    ProcessPlatform,
    DockerPlatform,
    EcsPlatform,
    CloudRunPlatform,
    AzurePlatform,
    KubernetesPlatform,
)
"""In the order in which they are tested: Kubernetes may still be being built."""
