"""Flow runs as local processes."""

from reconciler.infrastructure.process.launcher import ProcessLauncher

__all__ = ["ProcessLauncher"]
