"""Work pools, their queues and their workers over the API, as the agent needs them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from reconciler.api.client import Api, Repeat
from reconciler.api.deployments import flow_names
from reconciler.errors import AlreadyExists, NotFound

AGENT_POOL_TYPE = "prefect-agent"


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker of a pool; agents heartbeat as workers (DESIGN 7.2).

    Attributes:
        name: of the worker.
        online: what the server computed from its heartbeats.
        created: when it was first seen, by the server's clock.
        heartbeat: when it was last seen, by the server's clock.
    """

    name: str
    online: bool
    created: datetime
    heartbeat: datetime | None


async def pool_type(api: Api, pool: str) -> str | None:
    """Return a pool's type, None if there is no such pool."""
    try:
        return str((await api.get(f"/work_pools/{_segment(pool)}"))["type"])
    except NotFound:
        return None


async def create_agent_pool(api: Api, pool: str) -> None:
    """Create a pool of the type `prefect-agent`; one that exists is fine."""
    try:
        await api.post("/work_pools/", {"name": pool, "type": AGENT_POOL_TYPE}, repeat=Repeat.SAFE)
    except AlreadyExists:
        return


async def queue_names(api: Api, pool: str) -> list[str]:
    """List the names of a pool's queues.

    Raises:
        NotFound: there is no such pool.
    """
    pages = api.pages(f"/work_pools/{_segment(pool)}/queues/filter")
    return [item["name"] async for page in pages for item in page]


async def create_queue(api: Api, pool: str, name: str) -> None:
    """Create a queue of a pool; one that exists is fine."""
    try:
        await api.post(f"/work_pools/{_segment(pool)}/queues", {"name": name}, repeat=Repeat.SAFE)
    except AlreadyExists:
        return


async def heartbeat(api: Api, pool: str, worker: str, interval: float) -> None:
    """Report a worker as alive.

    Args:
        api: the API.
        pool: its pool.
        worker: its name; a new name makes a new worker.
        interval: seconds between its heartbeats; the server takes it for OFFLINE after three missed.

    Raises:
        NotFound: there is no such pool.
    """
    body = {"name": worker, "heartbeat_interval_seconds": max(1, round(interval))}
    path = f"/work_pools/{_segment(pool)}/workers/heartbeat"
    await api.post(path, body, repeat=Repeat.SAFE, urgent=True)


async def workers(api: Api, pool: str) -> list[Worker]:
    """List a pool's workers.

    Raises:
        NotFound: there is no such pool.
    """
    pages = api.pages(f"/work_pools/{_segment(pool)}/workers/filter")
    return [
        Worker(
            name=item["name"],
            online=item["status"] == "ONLINE",
            created=datetime.fromisoformat(item["created"]),
            heartbeat=_time(item["last_heartbeat_time"]),
        )
        async for page in pages
        for item in page
    ]


async def remove_worker(api: Api, pool: str, worker: str) -> None:
    """Take a worker off the list; one that is gone is fine."""
    await api.delete(f"/work_pools/{_segment(pool)}/workers/{_segment(worker)}")


async def users(api: Api, pool: str, queue: str | None = None) -> dict[str, str]:
    """Return the deployments of a pool, or of one of its queues: `<flow>/<name>` by id."""
    wanted: dict[str, Any] = {"work_pools": {"name": {"any_": [pool]}}}
    if queue is not None:
        wanted["work_pool_queues"] = {"name": {"any_": [queue]}}
    found = [one async for page in api.pages("/deployments/filter", wanted) for one in page]
    flows = await flow_names(api, {one["flow_id"] for one in found})
    return {one["id"]: f"{flows.get(one['flow_id'], '?')}/{one['name']}" for one in found}


async def active_runs(api: Api, pool: str, queue: str | None = None) -> int:
    """Count the flow runs of a pool, or of one of its queues, that are under way."""
    wanted: dict[str, Any] = {"work_pools": {"name": {"any_": [pool]}}}
    if queue is not None:
        wanted["work_pool_queues"] = {"name": {"any_": [queue]}}
    states = {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}
    wanted["flow_runs"] = {"state": states}
    return int(await api.post("/flow_runs/count", wanted, repeat=Repeat.SAFE))


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _segment(name: str) -> str:
    return quote(name, safe="")
