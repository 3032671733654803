"""What a Job needs of its cluster, asked before anything is launched."""

from collections.abc import Mapping
from typing import Any

import anyio

from reconciler.blocks.kubernetes import KubernetesJobSettings
from reconciler.errors import Transient
from reconciler.infrastructure.base import NotLaunchable
from reconciler.infrastructure.kubernetes.client import Cluster, Denied, Missing

_NEEDED: tuple[tuple[str, str, str, str], ...] = (
    ("batch", "jobs", "", "create get list watch patch delete"),
    ("", "pods", "", "list watch delete"),
    ("", "pods", "log", "get"),
)
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def problems_of(
    cluster: Cluster, settings: KubernetesJobSettings, namespace: str
) -> tuple[str, ...]:
    """Return what is missing there: the cluster, the namespace, permissions, the service account."""
    try:
        await cluster.uid()
        gone = await _missing(cluster, namespace, settings.service_account_name)
        if gone is not None:
            return (gone,)
        lacking = await _lacking(cluster, namespace)
    except (NotLaunchable, Transient) as error:
        return (error.message,)
    if not lacking:
        return ()
    return (f"namespace {namespace}: the agent may not {', '.join(lacking)}: give it a role",)


async def _missing(cluster: Cluster, namespace: str, account: str | None) -> str | None:
    path = f"/api/v1/namespaces/{namespace}"
    if not await _is_there(cluster, path):
        return f"namespace {namespace} is not in the cluster: kubectl create namespace {namespace}"
    if account is not None and not await _is_there(cluster, f"{path}/serviceaccounts/{account}"):
        return f"service_account_name: namespace {namespace} has no service account {account}"
    return None


async def _is_there(cluster: Cluster, path: str) -> bool:
    """Look for an object; where we may not look, it counts as there."""
    try:
        await cluster.ask("GET", path)
    except Missing:
        return False
    except Denied:
        return True
    return True


async def _lacking(cluster: Cluster, namespace: str) -> list[str]:
    wanted = [
        {"group": group, "resource": resource, "subresource": part, "verb": verb}
        for group, resource, part, verbs in _NEEDED
        for verb in verbs.split()
    ]
    refused: set[int] = set()

    async def ask(number: int, what: Mapping[str, Any]) -> None:
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**what, "namespace": namespace}},
        }
        answer = await cluster.ask("POST", _REVIEWS, body=body)
        if not answer["status"].get("allowed"):
            refused.add(number)

    async with anyio.create_task_group() as group:
        for number, what in enumerate(wanted):
            group.start_soon(ask, number, what)
    return [_named(wanted[number]) for number in sorted(refused)]


def _named(what: Mapping[str, str]) -> str:
    part = f"/{what['subresource']}" if what["subresource"] else ""
    return f"{what['verb']} {what['resource']}{part}"
