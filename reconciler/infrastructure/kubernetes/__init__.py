"""Kubernetes jobs as infrastructure of flow runs."""

from reconciler.infrastructure.kubernetes.launcher import KubernetesLauncher

__all__ = ["KubernetesLauncher"]
