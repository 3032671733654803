"""Requests to others than Prefect and the platforms: git forges, chat services, webhooks.

Their addresses may be secrets (Slack's are), so no error shows one; who is asked has a name.
"""

import json as _json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import httpx

from reconciler import __version__
from reconciler.errors import (
    Forbidden,
    NotFound,
    Overloaded,
    Rejected,
    Transient,
    Unauthorised,
    Unreachable,
)
from reconciler.runtime.backoff import Backoff
from reconciler.runtime.clock import Clock

T = TypeVar("T")
Client = httpx.AsyncClient

_SECONDS = 20.0
_LARGEST = 8 * 1024 * 1024
"""Bytes of an answer: a page of 100 long comments has some 6 MB."""
_LONGEST_WORDS = 300
_LONGEST_WAIT = 120.0
_BUSY = frozenset({408, 425, 429})
_BROKEN_SERVER = 500
_GOOD = range(200, 300)


def client() -> httpx.AsyncClient:
    """Make a client. It follows no redirects: they would take credentials elsewhere."""
    return httpx.AsyncClient(
        timeout=_SECONDS, headers={"User-Agent": f"prefect-reconciler/{__version__}"}
    )


class Correspondent:
    """Somebody who is sent requests."""

    def __init__(
        self, http: httpx.AsyncClient, name: str, headers: Callable[[], Mapping[str, str]]
    ) -> None:
        """Know them.

        Args:
            http: sends.
            name: for people; never an address.
            headers: made anew for each request, since tokens change.
        """
        self._http = http
        self._headers = headers
        self.name = name

    async def ask(self, method: str, url: str, json: Any = None) -> Any:
        """Send a request once and return the JSON of the answer, None for an empty one.

        Raises:
            Transient: it may go well later.
            UserError: it won't: what they say is in the message.
        """
        body = await self._send(self._http.build_request(method, url, json=json))
        try:
            return _json.loads(body) if body else None
        except ValueError:
            raise Overloaded(f"{self.name}: the answer was cut off, or is no JSON") from None

    async def tell(self, url: str, content: bytes) -> None:
        """Post something once; whatever good answer comes is fine.

        Raises:
            Transient: it may go well later.
            UserError: it won't.
        """
        await self._send(self._http.build_request("POST", url, content=content))

    async def _send(self, request: httpx.Request) -> bytes:
        request.headers.update(self._headers())
        try:
            answer = await self._http.send(request, stream=True)
            try:
                body = await _bounded(answer)
            finally:
                await answer.aclose()
        except httpx.HTTPError as error:
            raise Unreachable(f"{self.name} can't be reached: {type(error).__name__}") from None
        if answer.status_code in _GOOD:
            return body
        raise self._error(answer, body)

    def _error(self, answer: httpx.Response, body: bytes) -> Exception:
        status = answer.status_code
        words = " ".join(body.decode("utf-8", errors="replace").split())[:_LONGEST_WORDS]
        text = f"{self.name} answered {status}: {words}" if words else f"{self.name}: {status}"
        wait = answer.headers.get("retry-after", "")
        limited = status in _BUSY or answer.headers.get("x-ratelimit-remaining") == "0" or wait
        if limited or status >= _BROKEN_SERVER:
            seconds = min(float(wait), _LONGEST_WAIT) if wait.isdecimal() else None
            return Overloaded(text, retry_after=seconds)
        kinds = {401: Unauthorised, 403: Forbidden, 404: NotFound}
        return kinds[status](text) if status in kinds else Rejected(text, status=status)


async def patiently(work: Callable[[], Awaitable[T]], clock: Clock, seconds: float) -> T:
    """Do something that passing trouble may keep from going well, again and again.

    Args:
        work: what to do; doing it twice must do no harm.
        clock: to wait with.
        seconds: after which its trouble is no longer taken for passing.

    Raises:
        ReconcilerError: what kept it from going well.
    """
    end = clock.monotonic() + seconds
    for delay in Backoff(first=1.0, ceiling=30.0).delays():
        try:
            return await work()
        except Transient as error:
            wait = max(delay, error.retry_after or 0.0)
            if clock.monotonic() + wait > end:
                raise
        await clock.sleep(wait)
    raise AssertionError("delays have no end")


async def _bounded(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > _LARGEST:
            break
    return bytes(body[:_LARGEST])
