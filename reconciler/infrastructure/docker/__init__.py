"""Docker containers as infrastructure of flow runs."""

from reconciler.infrastructure.docker.launcher import DockerLauncher

__all__ = ["DockerLauncher"]
