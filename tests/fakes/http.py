"""A server behind httpx, without a network: answers from a script, remembers what it was asked."""

import json
from collections.abc import Callable
from typing import Any

import httpx

from reconciler.api.client import Api
from reconciler.api.transport import Sender
from reconciler.model.server import ServerFacts, Version
from tests.fakes.clock import VirtualClock

Step = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class ScriptedServer(httpx.AsyncBaseTransport):
    """Gives the next step of its script for each request, then what `otherwise` makes of it.

    Attributes:
        requests: as they came; their bodies are read.
        closed: whether its client has closed the connection.
    """

    def __init__(self, *script: Step, otherwise: Step | None = None) -> None:
        self.script = list(script)
        self.otherwise = otherwise
        self.requests: list[httpx.Request] = []
        self.closed = False

    async def aclose(self) -> None:
        self.closed = True

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        step = self.script.pop(0) if self.script else self.otherwise
        if step is None:
            raise AssertionError(f"unexpected {request.method} {request.url}")
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, httpx.Response) else step(request)

    @property
    def asked(self) -> list[str]:
        """Return method and path of each request."""
        return [f"{r.method} {r.url.path}" for r in self.requests]

    def body(self, index: int = -1) -> Any:
        """Return the JSON of a request."""
        return json.loads(self.requests[index].content)


def answer(status: int = 200, json_: Any = None, **headers: str) -> httpx.Response:
    """Make an answer; header names are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if json_ is None:
        return httpx.Response(status, headers=named)
    return httpx.Response(status, json=json_, headers=named)


def scripted_api(server: ScriptedServer) -> Api:
    """Make a client of such a server; its waits take no time."""
    url = "http://prefect.test/api"
    sender = Sender(httpx.AsyncClient(base_url=url, transport=server), VirtualClock())
    return Api(sender, ServerFacts(Version(3, 8, 8), url))
