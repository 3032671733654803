"""What a cluster tells of a Job or its pod in its Events, where their status does not."""

from contextlib import suppress

from reconciler.errors import ReconcilerError
from reconciler.infrastructure.kubernetes.pods import Place
from reconciler.infrastructure.kubernetes.reasons import Json


async def what_happened(place: Place, pod: Json | None) -> str:
    """Return the last warning about a pod, or about its Job where there is none; "" without one.

    Quotas, admission webhooks, volumes and registries speak only there. That Events may not be read
    is no error: they only help.
    """
    name = place.name if pod is None else pod["metadata"]["name"]
    chosen = f"involvedObject.name={name},type=Warning"
    query = (("fieldSelector", chosen), ("limit", "50"))
    path = f"/api/v1/namespaces/{place.namespace}/events"
    with suppress(ReconcilerError):
        found = (await place.cluster.ask("GET", path, query=query))["items"]
        # Of a pull, the first of the warnings of one moment has the registry's words.
        last = max(found, key=_told_at, default=None)
        if last is not None:
            return " ".join(str(last.get("message") or last.get("reason") or "").split())
    return ""


def _told_at(event: Json) -> tuple[str, int]:
    when = str(event.get("lastTimestamp") or event.get("eventTime") or "")
    return when, len(str(event.get("message") or ""))
