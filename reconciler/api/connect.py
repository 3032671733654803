"""Connecting: find out what answers, and say so clearly if it is no Prefect API that we can use."""

import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx

from reconciler.api import auth
from reconciler.api.answers import Answer, result
from reconciler.api.calls import Call
from reconciler.api.client import Api
from reconciler.api.transport import Observer, Patience, Sender
from reconciler.errors import (
    NotFound,
    NotPrefect,
    ReconcilerError,
    Unsupported,
    UsageError,
)
from reconciler.model.server import ServerFacts, Version
from reconciler.runtime.ahead import owned
from reconciler.runtime.clock import Clock
from reconciler.runtime.log import Log
from reconciler.settings import ConnectionSettings

OLDEST = Version(2, 20)
"""The oldest version that is known to work."""

_CLOUD = re.compile(r"/accounts/[0-9a-f-]{36}/workspaces/[0-9a-f-]{36}$", re.IGNORECASE)
_IDLE_SECONDS = 3.0
"""Uvicorn closes idle connections after 5 s; a request sent at that moment would be lost."""

_log = Log(__name__)


@asynccontextmanager
async def connect(
    settings: ConnectionSettings,
    clock: Clock,
    *,
    observer: Observer | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Api]:
    """Connect to the API and find out which version it is.

    Args:
        settings: where, and as whom.
        clock: ours.
        observer: told of each attempt of a request, for metrics.
        transport: stands in for the network in tests.

    Raises:
        UsageError: no API is configured, or the certificate file can't be read.
        Unreachable: no connection.
        NotPrefect: something else answers there.
        Unauthorised: 401.
        Forbidden: 403.
        Unsupported: the server is older than 2.20.
    """
    if settings.api_url is None:
        raise UsageError(
            "no Prefect API is configured",
            hint="set PREFECT_API_URL, for example http://127.0.0.1:4200/api",
        )
    if refused := auth.refused_headers(settings):
        _log.warning("custom headers left out: they are protected", names=refused)
    async with _http(settings, settings.api_url, transport) as http:
        patience = Patience(settings.timeout_seconds, settings.deadline_seconds)
        sender = Sender(http, clock, patience, csrf=settings.csrf, observer=observer)
        facts = await _facts(sender, settings.api_url)
        async with owned() as group:
            api = Api(sender, facts, group)
            try:
                yield api
            finally:
                api.forget_foreseen()


def _http(
    settings: ConnectionSettings, url: str, transport: httpx.AsyncBaseTransport | None
) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url,
        headers=auth.headers(settings),
        timeout=httpx.Timeout(
            settings.timeout_seconds, connect=min(10.0, settings.timeout_seconds)
        ),
        limits=httpx.Limits(keepalive_expiry=_IDLE_SECONDS),
        verify=_verify(settings, url),
        follow_redirects=False,
        transport=transport,
    )


def _verify(settings: ConnectionSettings, url: str) -> ssl.SSLContext | bool:
    """Return how to check certificates; loading authorities takes time, so not for http."""
    if settings.tls_insecure or url.startswith("http:"):
        return False
    if settings.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise UsageError(
            f"PREFECT_API_SSL_CERT_FILE: {settings.ca_file} can't be used: {error.strerror or error}",
            hint="it must be a PEM file with the certificates of authorities",
        ) from None


async def _facts(sender: Sender, url: str) -> ServerFacts:
    if _CLOUD.search(urlsplit(url).path):
        # Cloud has no /admin; a count proves address and credentials.
        call = Call("POST", "/flows/count", body=b"{}", read=True)
        result(call, await sender.send(call))
        return ServerFacts(Version(3), url, cloud=True)
    version = await _version(sender, url)
    if version < OLDEST:
        raise Unsupported(
            f"the server at {url} is Prefect {version}; {OLDEST.major}.{OLDEST.minor} is the oldest"
            " that works",
            hint="update the server",
        )
    return ServerFacts(version, url, automations=await _has_automations(sender, version))


async def _version(sender: Sender, url: str) -> Version:
    call = Call("GET", "/admin/version", read=True)
    answer = await sender.send(call)
    try:
        text = result(call, answer)
    except (NotFound, NotPrefect):
        text = None
    if not isinstance(text, str):
        raise NotPrefect(
            f"{url} answers, but not as a Prefect API: {_seen(answer)}",
            hint=await _better_address(sender, url),
        )
    return Version.parse(text)


def _seen(answer: Answer) -> str:
    if "html" in answer.headers.get("content-type", ""):
        return "a web page"
    return f"status {answer.status} on /admin/version"


async def _better_address(sender: Sender, url: str) -> str:
    """Look whether `/api` is all that is missing."""
    if not url.endswith("/api"):
        call = Call("GET", "/api/health", read=True)
        try:
            if result(call, await sender.send(call)) is True:
                return f"did you mean {url}/api?"
        except ReconcilerError:
            pass
    return "the address of a Prefect API ends in /api, for example http://127.0.0.1:4200/api"


async def _has_automations(sender: Sender, version: Version) -> bool:
    """Ask a 2.20 server; there they exist with two experimental settings only (facts)."""
    if version.major > OLDEST.major:
        return True
    call = Call("POST", "/automations/count", body=b"{}", read=True)
    try:
        result(call, await sender.send(call))
    except NotFound:
        return False
    return True
