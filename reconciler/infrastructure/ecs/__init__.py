"""Flow runs as tasks of Amazon ECS."""

from reconciler.infrastructure.ecs.launcher import EcsLauncher

__all__ = ["EcsLauncher"]
