"""Calls on deployments, and the form in which they travel."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from reconciler.api.client import Api, Repeat
from reconciler.errors import NotFound, NotPrefect
from reconciler.model.schedules import to_wire

_PAGE = 200  # servers refuse more (facts)
_ALL = {"sort": "CREATED_DESC"}
_WAITING = 5
"""Pages that wait while manifests are read: a server takes a second for them, or three."""
Body = dict[str, Any]


async def read(api: Api, id_: str) -> Mapping[str, Any] | None:
    """GET a deployment by id; None if there is none."""
    try:
        answer: Mapping[str, Any] = await api.get(f"/deployments/{id_}")
    except NotFound:
        return None
    return answer


async def find(api: Api, flow: str, name: str) -> Mapping[str, Any] | None:
    """GET a deployment by the name of its flow and its own; None if there is none."""
    path = f"/deployments/name/{quote(flow, safe='')}/{quote(name, safe='')}"
    try:
        answer: Mapping[str, Any] = await api.get(path)
    except NotFound:
        return None
    return answer


def pages(api: Api) -> AsyncIterator[list[dict[str, Any]]]:
    """Page through all deployments, newest first.

    Names tie between flows; `created` hardly ever does.
    """
    return api.pages("/deployments/filter", _ALL, size=_PAGE)


def foresee(api: Api) -> None:
    """Begin with these pages."""
    api.foresee("/deployments/filter", _ALL, size=_PAGE, waiting=_WAITING)


async def names(api: Api, flows: Iterable[str], among: Iterable[str]) -> frozenset[str]:
    """Return those of some names that deployments of some flows bear."""
    body = {
        "flows": {"name": {"any_": sorted(flows)}},
        "deployments": {"name": {"any_": sorted(among)}},
        "sort": "CREATED_DESC",
    }
    found = api.pages("/deployments/filter", body, size=_PAGE)
    return frozenset([raw["name"] async for page in found for raw in page])


async def flow_names(api: Api, ids: Iterable[str]) -> dict[str, str]:
    """Return the names of flows by id."""
    wanted = sorted(set(ids))
    names: dict[str, str] = {}
    for start in range(0, len(wanted), _PAGE):
        body = {"flows": {"id": {"any_": wanted[start : start + _PAGE]}}, "sort": "NAME_ASC"}
        async for page in api.pages("/flows/filter", body):
            names.update({flow["id"]: flow["name"] for flow in page})
    return names


async def ensure_flow(api: Api, name: str) -> str:
    """Make sure that a flow exists (an upsert, facts); return its id."""
    answer = await api.post("/flows/", {"name": name}, repeat=Repeat.SAFE)
    return str(answer["id"])


async def create(api: Api, body: Body) -> tuple[str, bool]:
    """POST a new deployment; return its id and whether it was there before (200 instead of 201).

    Raises:
        AnswerLost: nobody knows whether it was made. Sent again it would answer 200.
    """
    status, answer = await api.post_status("/deployments/", body, repeat=Repeat.NEVER)
    return str(answer["id"]), status == 200  # noqa: PLR2004 - an upsert found it


async def rewrite(api: Api, body: Body) -> None:
    """POST over a deployment that exists."""
    await api.post("/deployments/", body, repeat=Repeat.SAFE)


async def patch(api: Api, id_: str, body: Body) -> None:
    """PATCH a deployment."""
    await api.patch(f"/deployments/{id_}", body)


async def delete(api: Api, id_: str) -> None:
    """DELETE a deployment; one already gone is fine."""
    try:
        await api.delete(f"/deployments/{id_}")
    except NotFound:
        return


async def count_runs(api: Api, id_: str, *states: str) -> int:
    """Count the flow runs of a deployment in some state types."""
    body = {
        "deployments": {"id": {"any_": [id_]}},
        "flow_runs": {"state": {"type": {"any_": list(states)}}},
    }
    count = await api.post("/flow_runs/count", body, repeat=Repeat.SAFE)
    if not isinstance(count, int):  # deletes hang on it
        raise NotPrefect("POST /flow_runs/count: the answer is no number")
    return count


_IDS = {"infrastructure": "infrastructure_document_id", "storage": "storage_document_id"}


def wire(fields: Mapping[str, Any], *, v2: bool) -> Body:
    """Turn normalised fields, blocks given by id, into a request body.

    Secrets stay what they are: the client reveals them.
    """
    body: Body = {_IDS.get(name, name): value for name, value in fields.items()}
    if "schedules" in body:
        body["schedules"] = [to_wire(item, v2=v2) for item in body["schedules"]]
    if not v2 and "parameter_openapi_schema" in body:
        # With null, 3.x refuses every later PATCH while it enforces the schema (tried).
        body["parameter_openapi_schema"] = body["parameter_openapi_schema"] or {}
    return body
