"""What machines ask: liveness, readiness, metrics."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from reconciler.telemetry.metrics import CONTENT_TYPE
from reconciler.web.guards import BackendOf

router = APIRouter(tags=["probes"])


@router.get("/healthz", response_class=PlainTextResponse)
async def healthz() -> str:
    """Say that the process answers."""
    return "ok\n"


@router.get(
    "/readyz",
    response_class=PlainTextResponse,
    responses={503: {"description": "Not yet; the text says why."}},
)
async def readyz(backend: BackendOf) -> Response:
    """Say whether the service has found its server and its repository."""
    why = backend.unready
    return PlainTextResponse("ready\n" if why is None else f"{why}\n", 200 if why is None else 503)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(backend: BackendOf) -> Response:
    """Return all metrics in Prometheus's text form; docs/operations.md lists them."""
    return Response(backend.metrics.render(), media_type=CONTENT_TYPE)
