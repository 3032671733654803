"""Azure container instances as infrastructure of flow runs."""

from reconciler.infrastructure.azure.launcher import AzureLauncher

__all__ = ["AzureLauncher"]
