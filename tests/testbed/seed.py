"""Plain requests that bring a server into a state, and wait for one; independent of our own client.

Everything takes the client of `PrefectServer.client()`.
"""

import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import httpx

T = TypeVar("T")
FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
_BUSY = {429, 502, 503}  # a SQLite server under concurrent writes


def request(
    client: httpx.Client, method: str, path: str, body: Any = None, *, also: int | None = None
) -> Any:
    """Send one request, again while the server is busy; return the JSON.

    Args:
        client: of the server.
        method: of HTTP.
        path: below the API's URL.
        body: as JSON.
        also: a status that is as good as success.

    Raises:
        AssertionError: any other answer than 2xx; it carries the body.
    """
    answer = client.request(method, path, json=body)
    for _ in range(8):
        if answer.status_code not in _BUSY:
            break
        time.sleep(0.25)
        answer = client.request(method, path, json=body)
    assert answer.is_success or answer.status_code == also, (
        f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
    )
    return answer.json() if answer.content else None


def listing(client: httpx.Client, what: str, **filters: Any) -> list[dict[str, Any]]:
    """Return every object of a filter endpoint (`deployments`, `block_documents`, `flow_runs`)."""
    found: list[dict[str, Any]] = []
    while True:
        body = {**filters, "limit": 200, "offset": len(found)}
        page = request(client, "POST", f"/{what}/filter", body)
        found += page
        if len(page) < 200:
            return found


def flow(client: httpx.Client, name: str = "etl") -> str:
    """Create a flow, or find it; return its id."""
    return str(request(client, "POST", "/flows/", {"name": name})["id"])


def deployment(
    client: httpx.Client, name: str = "nightly", *, flow_name: str = "etl", **fields: Any
) -> dict[str, Any]:
    """Create or replace a deployment; `fields` are the API's own."""
    body = {"name": name, "flow_id": flow(client, flow_name), "work_queue_name": "default"}
    made: dict[str, Any] = request(client, "POST", "/deployments/", {**body, **fields})
    return made


def find_deployment(client: httpx.Client, name: str, flow_name: str = "etl") -> dict[str, Any]:
    """Return a deployment by name."""
    found: dict[str, Any] = request(client, "GET", f"/deployments/name/{flow_name}/{name}")
    return found


def block_type(client: httpx.Client, slug: str) -> dict[str, Any]:
    """Return a block type."""
    found: dict[str, Any] = request(client, "GET", f"/block_types/slug/{slug}")
    return found


def block_schema(client: httpx.Client, type_id: str, fields: Any = None) -> str:
    """Return the id of the newest schema of a block type, or register the given one."""
    if fields is not None:
        body = {"fields": fields, "block_type_id": type_id, "capabilities": []}
        return str(request(client, "POST", "/block_schemas/", body)["id"])
    only = {"block_schemas": {"block_type_id": {"any_": [type_id]}}}
    found = request(client, "POST", "/block_schemas/filter", only)
    assert found, f"block type {type_id} has no schema"
    return str(found[0]["id"])


def block(client: httpx.Client, slug: str, name: str, data: dict[str, Any]) -> dict[str, Any]:
    """Create a block document of a type that the server has (`secret`, `json`, …)."""
    type_id = block_type(client, slug)["id"]
    body = {
        "name": name,
        "data": data,
        "block_type_id": type_id,
        "block_schema_id": block_schema(client, type_id),
    }
    made: dict[str, Any] = request(client, "POST", "/block_documents/", body)
    return made


def custom_block_type(client: httpx.Client, slug: str, **fields: Any) -> str:
    """Register a block type with a schema of those properties (JSON Schema each); return its id."""
    type_id = str(
        request(client, "POST", "/block_types/", {"name": slug.title(), "slug": slug})["id"]
    )
    schema = {
        "title": slug.title(),
        "type": "object",
        "properties": fields,
        "secret_fields": [],
        "block_schema_references": {},
        "block_type_slug": slug,
    }
    block_schema(client, type_id, schema)
    return type_id


def flow_run(
    client: httpx.Client, deployment_id: str, *, parameters: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Create a flow run that is due now; asking again after a lost answer makes no second one."""
    body = {
        "parameters": parameters or {},
        "state": {"type": "SCHEDULED", "state_details": {}},
        "idempotency_key": str(uuid.uuid4()),
    }
    path = f"/deployments/{deployment_id}/create_flow_run"
    made: dict[str, Any] = request(client, "POST", path, body)
    return made


def set_state(client: httpx.Client, run_id: str, type_: str, **state: Any) -> dict[str, Any]:
    """Force a flow run into a state."""
    body = {"state": {"type": type_, **state}, "force": True}
    made: dict[str, Any] = request(client, "POST", f"/flow_runs/{run_id}/set_state", body)
    return made


def state_of(client: httpx.Client, run_id: str) -> str:
    """Return the type of a flow run's state."""
    return str(request(client, "GET", f"/flow_runs/{run_id}")["state_type"])


def wait_for_state(
    client: httpx.Client, run_id: str, wanted: Iterable[str] = FINAL, *, seconds: float = 60
) -> dict[str, Any]:
    """Wait until a flow run is in one of the states; return the run.

    Raises:
        AssertionError: it was not in time; it carries the state's message.
    """
    states = {wanted} if isinstance(wanted, str) else set(wanted)

    def reached() -> dict[str, Any] | None:
        run: dict[str, Any] = request(client, "GET", f"/flow_runs/{run_id}")
        last.update(run)
        return run if run["state_type"] in states else None

    last: dict[str, Any] = {}
    try:
        return wait_until(reached, seconds=seconds)
    except TimeoutError as late:
        state = last.get("state") or {}
        raise AssertionError(
            f"flow run {run_id} is {state.get('type')} ({state.get('message')}), not {states}"
        ) from late


def wait_until(check: Callable[[], T | None], *, seconds: float = 30) -> T:
    """Call until the answer is true; return it.

    Raises:
        TimeoutError: it never was.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"not true within {seconds} s")
        time.sleep(0.1)


def counts(client: httpx.Client) -> dict[str, int]:
    """Count the objects of each sort, for 'nothing else changed' and 'no orphan'."""
    return {
        what: request(client, "POST", f"/{what}/count", {})
        for what in ("flows", "deployments", "flow_runs", "block_documents")
    }
