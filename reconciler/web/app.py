"""The web application: routers, headers, and errors as people read them."""

from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler import __version__
from reconciler.errors import HistoryUnavailable
from reconciler.runtime.clock import Clock
from reconciler.settings import WebSettings
from reconciler.web import api, hooks, pages, probes
from reconciler.web.access import Access
from reconciler.web.backend import Backend

_FOR_PROGRAMS = ("/api/", "/hooks/", "/healthz", "/readyz", "/metrics")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def make_app(backend: Backend, settings: WebSettings, clock: Clock) -> FastAPI:
    """Make the application of a service."""
    app = FastAPI(
        title="Reconciler",
        version=__version__,
        summary="GitOps for Prefect: what is declared, what is live, what differs.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
    )
    secret = settings.webhook_secret
    app.state.backend = backend
    app.state.access = Access(settings, clock)
    app.state.hooks = hooks.Hooks(secret.get_secret_value() if secret else None)
    app.state.clock = clock
    app.state.secure = (settings.url or "").startswith("https:")
    for module in (probes, api, hooks, pages):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    app.add_exception_handler(HistoryUnavailable, _history)
    app.add_exception_handler(HTTPException, _refused)
    app.add_middleware(_Front, settings=settings)
    return app


class _Front:
    """Refuses foreign host names where only this machine is served, and adds headers.

    A page of somebody else whose name is made to point to this machine (DNS rebinding) would read
    what is shown here to people on this machine only.
    """

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        own = None if settings.url is None else urlsplit(settings.url).hostname
        self._app = app
        self._names = {"localhost", own} if _is_loopback(settings.host) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        app: ASGIApp = self._app
        if not self._is_ours(HTTPConnection(scope).url.hostname or ""):
            text = "this service is for its own machine; set RECONCILER_WEB_URL for another name"
            app = JSONResponse({"detail": text}, 421)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await app(scope, receive, with_headers)

    def _is_ours(self, name: str) -> bool:
        return self._names is None or name in self._names or _is_loopback(name)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


async def _history(request: Request, error: Exception) -> Response:
    message = error.message if isinstance(error, HistoryUnavailable) else "not available"
    return await _refused(request, HTTPException(503, message))


async def _refused(request: Request, error: Exception) -> Response:
    """Answer people with a page, and programs with JSON."""
    if not isinstance(error, HTTPException):
        raise error
    path = request.url.path
    if path.startswith(_FOR_PROGRAMS) or "text/html" not in request.headers.get("accept", ""):
        return await http_exception_handler(request, error)
    return await pages.error_page(request, error)
