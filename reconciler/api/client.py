"""The client: every request to Prefect goes through `Api`. `connect` (connect.py) makes one."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup

from reconciler.api.answers import Answer, result
from reconciler.api.calls import Call, encode
from reconciler.api.transport import RequestCounts, Sender
from reconciler.errors import NotFound, NotPrefect, Unreachable
from reconciler.model.server import ServerFacts
from reconciler.runtime.ahead import Ahead

__all__ = ["Api", "Repeat", "RequestCounts"]

Page = list[dict[str, Any]]

_READING = frozenset(
    {"count", "filter", "get_scheduled_flow_runs", "history", "lateness", "paginate", "read"}
)
"""Last words of the paths whose POST only reads."""


class Repeat(Enum):
    """Whether a request may be sent again when its answer was lost."""

    SAFE = "safe"  # a read in POST's clothes (filter, count), or an upsert
    NEVER = "never"  # a create: look it up before asking again


class Api:
    """A Prefect API. All methods raise the errors of `reconciler.errors`, and only those.

    401 Unauthorised, 403 Forbidden, 404 NotFound, 409 Conflict (AlreadyExists on POST), other 4xx
    Rejected(status, detail); transient answers are retried with jittered back-off and Retry-After
    until the deadline (120 s a request), then Overloaded or Unreachable. A POST with
    `Repeat.NEVER` whose answer was lost or was a 5xx after sending raises `AnswerLost` at once.

    Requests wait for each other as the server bears (limits.py), save those that are `urgent`:
    signs of life, on which others rely.

    A body may hold `Secret` anywhere: it is revealed here, and taken out of what the server says.

    Attributes:
        facts: the server.
        type_ids: ids of block types and their schemas by slug, for whoever looked them up.
    """

    def __init__(self, sender: Sender, facts: ServerFacts, group: TaskGroup | None = None) -> None:
        """Take what sends; and what owns requests made ahead, without which there are none."""
        self.facts = facts
        self.type_ids: dict[str, tuple[str, str]] = {}
        self._sender = sender
        self._group = group
        self._foreseen: dict[tuple[str, int, bytes | None], tuple[Ahead[Page], float]] = {}

    @property
    def counts(self) -> RequestCounts:
        """Requests made so far, repeats included."""
        return self._sender.counts

    @property
    def strained(self) -> bool:
        """Whether the server has refused writes lately, and more of ours wait.

        What can wait should: each look for due runs makes the server write, too (300 deployments on
        SQLite with an agent beside them took 33 s instead of 42 s; Prefect 3.8.8, tried).
        """
        return self._sender.strained

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """GET a path below the API root (`/deployments/<id>`); return the JSON."""
        return await self._send(Call("GET", path, params, read=True))

    async def post(
        self,
        path: str,
        body: Any = None,
        *,
        repeat: Repeat = Repeat.NEVER,
        urgent: bool = False,
    ) -> Any:
        """POST; `repeat=Repeat.SAFE` for filters, counts and upserts. Filters count as reads."""
        return (await self.post_status(path, body, repeat=repeat, urgent=urgent))[1]

    async def post_status(
        self,
        path: str,
        body: Any = None,
        *,
        repeat: Repeat = Repeat.NEVER,
        urgent: bool = False,
    ) -> tuple[int, Any]:
        """POST as `post` does; return the status too: an upsert says 201 (made) or 200 (was there)."""
        content, hidden = encode({} if body is None else body)
        repeatable = repeat is Repeat.SAFE
        read = repeatable and path.rstrip("/").rpartition("/")[2] in _READING
        call = Call("POST", path, None, content, repeatable, read, hidden, urgent)
        answer = await self._answer(call)
        return answer.status, result(call, answer)

    async def patch(self, path: str, body: Any, *, urgent: bool = False) -> Any:
        """PATCH; repeated when the answer is lost, since it is idempotent."""
        content, hidden = encode(body)
        return await self._send(Call("PATCH", path, body=content, hidden=hidden, urgent=urgent))

    async def put(self, path: str, body: Any) -> Any:
        """PUT; repeated when the answer is lost."""
        content, hidden = encode(body)
        return await self._send(Call("PUT", path, body=content, hidden=hidden))

    async def delete(self, path: str) -> None:
        """DELETE; repeated when the answer is lost, and then a 404 counts as done."""
        call = Call("DELETE", path)
        answer = await self._answer(call)
        try:
            result(call, answer)
        except NotFound:
            if not answer.lost:
                raise

    def foresee(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        size: int = 200,
        waiting: int = 0,
        fresh: float = 10.0,
    ) -> None:
        """Begin with a listing that `pages` is soon to be asked for likewise.

        It is for the first who asks for it. With our first write it counts no more.

        Args:
            path: as for `pages`.
            body: likewise.
            size: likewise.
            waiting: how many pages may wait, beside the one that is asked for next.
            fresh: seconds for which it counts, from now: the first page of a long listing is as old
                when its last one comes.
        """
        if self._group is not None:
            key = path, size, encode(body)[0]
            pages = partial(self._pages, path, body, size)
            listing = Ahead(self._group, pages, _closed(), waiting=waiting)
            if key in self._foreseen:
                self._foreseen[key][0].drop()
            self._foreseen[key] = listing, anyio.current_time() + fresh

    async def pages(
        self, path: str, body: Mapping[str, Any] | None = None, *, size: int = 200
    ) -> AsyncIterator[Page]:
        """Yield the pages of a filter endpoint, to the last one.

        While the caller looks at one, the server works on the next.

        Give a `sort` where the endpoint knows one: without it pages may overlap.

        Args:
            path: of the endpoint, `/deployments/filter`.
            body: the filter; `limit` and `offset` are added.
            size: of a page; servers refuse more than 200 (facts).

        Raises:
            Transient: a page could not be read: the listing is not complete.
        """
        listing = self._take_foreseen(path, body, size)
        pages = self._pages_now(path, body, size) if listing is None else listing.items()
        async with aclosing(pages):
            async for page in pages:
                yield page

    async def _pages_now(
        self, path: str, body: Mapping[str, Any] | None, size: int
    ) -> AsyncGenerator[Page]:
        first = await self._page(path, body, size, 0)  # most listings have no other
        rest = partial(self._pages, path, body, size, offset=size)
        full = len(first) == size
        if self._group is None or not full:
            if first:
                yield first
            if full:
                async for page in rest():
                    yield page
            return
        ahead = Ahead(self._group, rest, _closed())
        try:
            await ahead.under_way()
            yield first
            async for page in ahead.items():
                yield page
        finally:
            ahead.drop()

    def _take_foreseen(
        self, path: str, body: Mapping[str, Any] | None, size: int
    ) -> Ahead[Page] | None:
        if not self._foreseen:
            return None
        found = self._foreseen.pop((path, size, encode(body)[0]), None)
        if found is None:
            return None
        listing, until = found
        if anyio.current_time() < until:
            return listing
        listing.drop()
        return None

    def forget_foreseen(self) -> None:
        """Let go of listings that nobody has asked for."""
        for listing, _ in self._foreseen.values():
            listing.drop()
        self._foreseen.clear()

    async def _pages(
        self, path: str, body: Mapping[str, Any] | None, size: int, offset: int = 0
    ) -> AsyncGenerator[Page]:
        while True:
            page = await self._page(path, body, size, offset)
            if page:
                yield page
            if len(page) < size:
                return
            offset += size

    async def _page(
        self, path: str, body: Mapping[str, Any] | None, size: int, offset: int
    ) -> Page:
        wanted = {**(body or {}), "limit": size, "offset": offset}
        page = await self.post(path, wanted, repeat=Repeat.SAFE)
        if not isinstance(page, list):
            raise NotPrefect(f"POST {path}: the answer is no list")
        return page

    def now(self) -> datetime:
        """The server's clock (its `Date` header plus the time since), in UTC.

        Never ahead of the server's, at most two seconds behind.
        """
        return self._sender.server_clock.now()

    async def _send(self, call: Call) -> Any:
        return result(call, await self._answer(call))

    async def _answer(self, call: Call) -> Answer:
        if not call.read:
            self.forget_foreseen()
        return await self._sender.send(call)


def _closed() -> Unreachable:
    return Unreachable("the connection was closed meanwhile")
