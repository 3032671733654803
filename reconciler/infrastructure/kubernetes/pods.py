"""Paths and queries of Jobs and their pods in the Kubernetes API."""

from dataclasses import dataclass

from reconciler.blocks.kubernetes_base import CONTAINER
from reconciler.infrastructure.kubernetes.client import Cluster, Json, Query
from reconciler.infrastructure.kubernetes.manifest import TOKEN_LABEL

OF_US: Query = (("labelSelector", TOKEN_LABEL),)


def jobs_path(namespace: str) -> str:
    """Return the path of a namespace's Jobs."""
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


def pods_path(namespace: str) -> str:
    """Return the path of a namespace's pods."""
    return f"/api/v1/namespaces/{namespace}/pods"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a Job is."""

    cluster: Cluster
    namespace: str
    name: str

    @property
    def path(self) -> str:
        """Path of the Job."""
        return f"{jobs_path(self.namespace)}/{self.name}"

    async def job(self) -> Json:
        """Read the Job.

        Raises:
            Missing: it is gone.
            Transient, NotStarted: as `Cluster.ask`.
        """
        job: Json = await self.cluster.ask("GET", self.path)
        return job

    async def pods(self) -> list[Json]:
        """List the Job's pods.

        Raises:
            Transient, NotStarted: as `Cluster.ask`.
        """
        query = (("labelSelector", f"job-name={self.name}"),)
        found = await self.cluster.ask("GET", pods_path(self.namespace), query=query)
        return list(found["items"])

    async def remove(self) -> None:
        """Delete the Job; it is gone when its pods are.

        Raises:
            Missing: it is gone already.
            Transient, NotStarted: as `Cluster.ask`.
        """
        wish = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}
        await self.cluster.ask("DELETE", self.path, body=wish)

    def log_path(self, pod: str) -> str:
        """Return the path of the log of a pod's flow."""
        return f"{pods_path(self.namespace)}/{pod}/log"


LOG_OF_FLOW: Query = (("container", CONTAINER),)
