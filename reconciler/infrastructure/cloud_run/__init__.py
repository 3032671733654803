"""Jobs of Google Cloud Run as infrastructure of flow runs."""

from reconciler.infrastructure.cloud_run.launcher import CloudRunLauncher

__all__ = ["CloudRunLauncher"]
