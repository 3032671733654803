"""The HTTP API under /api/v1: all that the pages show and do."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import StreamingResponse

from reconciler import __version__
from reconciler.model.keys import Key
from reconciler.model.status import Resource, ResourceState
from reconciler.web.backend import Backend
from reconciler.web.guards import Actor, BackendOf, Visitor
from reconciler.web.shapes import (
    AcceptedShape,
    ApplyDetailShape,
    ApplyShape,
    DriftShape,
    ResourceShape,
    RunShape,
    StatusShape,
    apply_of,
    drift_of,
    resource_of,
    run_of,
    status_of,
)

_HEARTBEAT_SECONDS = 15.0
_LONGEST_NUMBER = 2**53
_DENIED: dict[int | str, dict[str, Any]] = {
    401: {"description": "Sign in first."},
    403: {"description": "The request did not come from a page of this service."},
    409: {"description": "This service does not reconcile."},
}

router = APIRouter(prefix="/api/v1", tags=["v1"])

Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]
KeyPath = Annotated[str, Path(description="For example deployment/etl/nightly.", max_length=2000)]
State = Annotated[ResourceState | None, Query(description="Only those in this state.")]
Kind = Annotated[str | None, Query(description="Only those of this kind.")]
Search = Annotated[str | None, Query(description="Only those whose key holds this.")]


@router.get("/status")
def status(backend: BackendOf, _: Visitor) -> StatusShape:
    """Return the service at a glance."""
    return status_of(backend, __version__)


@router.get("/resources")
def resources(
    backend: BackendOf, _: Visitor, state: State = None, kind: Kind = None, q: Search = None
) -> list[ResourceShape]:
    """List resources."""
    return [
        resource_of(one)
        for one in backend.board.standing.resources
        if (state is None or one.state is state)
        and (kind is None or one.key.kind == kind)
        and (q is None or q.lower() in str(one.key).lower())
    ]


@router.get("/resources/{key:path}", responses={404: {"description": "Nobody knows it."}})
def resource(backend: BackendOf, _: Visitor, key: KeyPath) -> ResourceShape:
    """Return one resource."""
    return resource_of(_resource(backend, key))


@router.get("/plan", responses={404: {"description": "There was no reconciliation yet."}})
def plan(backend: BackendOf, _: Visitor) -> dict[str, object]:
    """Return what differed at the last reconciliation, in a plan's JSON form."""
    found = backend.board.standing.plan
    if found is None:
        raise HTTPException(404, "there was no reconciliation yet")
    return found.to_json()


@router.get("/applies")
def applies(
    backend: BackendOf,
    _: Visitor,
    limit: Limit = 50,
    before: Annotated[
        int | None, Query(ge=1, le=_LONGEST_NUMBER, description="Only those with a lower number.")
    ] = None,
) -> list[ApplyShape]:
    """List reconciliations that did something, or could not, the newest first."""
    return [apply_of(one) for one in backend.board.history.applies(limit, before)]


@router.get("/applies/{number}", responses={404: {"description": "There is none."}})
def apply(
    backend: BackendOf, _: Visitor, number: Annotated[int, Path(ge=1, le=_LONGEST_NUMBER)]
) -> ApplyDetailShape:
    """Return one with its report."""
    found = backend.board.history.apply(number)
    if found is None:
        raise HTTPException(404, "there is no such reconciliation, or it was too long ago")
    record, report = found
    return ApplyDetailShape(**apply_of(record).model_dump(), report=report)


@router.get("/drifts")
def drifts(
    backend: BackendOf,
    _: Visitor,
    ended: Annotated[bool | None, Query(description="Only those that have ended, or last.")] = None,
    key: Annotated[str | None, Query(description="Of one resource only.")] = None,
    limit: Limit = 200,
) -> list[DriftShape]:
    """List what changed behind git's back, the newest first."""
    found = backend.board.history.drifts(ended=ended, key=key, limit=limit)
    return [drift_of(one) for one in found]


@router.get("/runs")
def runs(backend: BackendOf, _: Visitor, limit: Limit = 100) -> list[RunShape]:
    """List flow runs that the embedded agent took on, the newest first."""
    return [run_of(one) for one in backend.board.history.runs(limit)]


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "A stream of events."}},
)
async def events(request: Request, backend: BackendOf, _: Visitor) -> StreamingResponse:
    """Say `changed` whenever something that is shown has changed (server-sent events)."""
    return StreamingResponse(
        _events(request, backend),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.post("/reconcile", status_code=202, responses=_DENIED)
async def reconcile(backend: BackendOf, _: Actor) -> AcceptedShape:
    """Reconcile now."""
    _required(backend)
    backend.reconcile()
    return AcceptedShape(message="a reconciliation is on its way")


@router.post("/suspend", status_code=202, responses=_DENIED)
async def suspend(backend: BackendOf, _: Actor) -> AcceptedShape:
    """Look only, and write nothing until resumed; it outlives restarts."""
    _required(backend)
    backend.suspend(True)  # noqa: FBT003 - the verb's object
    return AcceptedShape(message="nothing is written until reconciling is resumed")


@router.post("/resume", status_code=202, responses=_DENIED)
async def resume(backend: BackendOf, _: Actor) -> AcceptedShape:
    """Go on writing."""
    _required(backend)
    backend.suspend(False)  # noqa: FBT003 - the verb's object
    return AcceptedShape(message="reconciling goes on")


@router.post(
    "/heal/{key:path}",
    status_code=202,
    responses={**_DENIED, 404: {"description": "Nobody knows it."}},
)
async def heal(backend: BackendOf, _: Actor, key: KeyPath) -> AcceptedShape:
    """Take git's values for one resource, whatever its drift policy."""
    _required(backend)
    found = _resource(backend, key)
    if backend.board.standing.suspended:
        raise HTTPException(409, "reconciling is suspended: resume it first")
    backend.heal(found.key)
    return AcceptedShape(message=f"git's values are taken for {found.key}")


def _required(backend: Backend) -> None:
    if backend.source is None:
        raise HTTPException(409, "this service only runs the agent; it does not reconcile")


def _resource(backend: Backend, text: str) -> Resource:
    try:
        key = Key.parse(text)
    except ValueError:
        raise HTTPException(404, f"{text!r} is not a key") from None
    found = next((one for one in backend.board.standing.resources if one.key == key), None)
    if found is None:
        raise HTTPException(404, f"there is no {key}")
    return found


async def _events(request: Request, backend: Backend) -> AsyncIterator[str]:
    version = backend.board.version
    yield f"retry: 2000\nevent: hello\ndata: {version}\n\n"
    while not await request.is_disconnected():
        with anyio.move_on_after(_HEARTBEAT_SECONDS) as waiting:
            version = await backend.board.changed(version)
        yield (
            ": still here\n\n"
            if waiting.cancelled_caught
            else f"event: changed\ndata: {version}\n\n"
        )
