"""The client: every request to Prefect goes through `Api`.

Sketch of the border; the bodies are being written.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from reconciler.model.server import ServerFacts


class Repeat(Enum):
    """Whether a request may be sent again when its answer was lost."""

    SAFE = "safe"  # a read in POST's clothes (filter, count), or an upsert
    NEVER = "never"  # a create: look it up before asking again


@dataclass(slots=True)
class RequestCounts:
    """Requests made so far, repeats included."""

    reads: int = 0
    writes: int = 0


class Api:
    """A Prefect API. All methods raise the errors of `reconciler.errors`, and only those.

    401 Unauthorised, 403 Forbidden, 404 NotFound, 409 Conflict (AlreadyExists on POST), other 4xx
    Rejected(status, detail); transient answers are retried with jittered back-off and Retry-After
    until the deadline (120 s a request), then Overloaded or Unreachable. A POST with
    `Repeat.NEVER` whose answer was lost or was a 5xx after sending raises `AnswerLost` at once.
    """

    facts: ServerFacts
    counts: RequestCounts

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """GET a path below the API root (`/deployments/<id>`); return the JSON."""
        raise NotImplementedError

    async def post(self, path: str, body: Any = None, *, repeat: Repeat = Repeat.NEVER) -> Any:
        """POST; `repeat=Repeat.SAFE` for filters, counts and upserts. Filters count as reads."""
        raise NotImplementedError

    async def patch(self, path: str, body: Any) -> Any:
        """PATCH; repeated when the answer is lost, since it is idempotent."""
        raise NotImplementedError

    async def put(self, path: str, body: Any) -> Any:
        """PUT; repeated when the answer is lost."""
        raise NotImplementedError

    async def delete(self, path: str) -> None:
        """DELETE; repeated when the answer is lost, and then a 404 counts as done."""
        raise NotImplementedError

    def pages(
        self, path: str, body: Mapping[str, Any] | None = None, *, size: int = 200
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield the pages of a filter endpoint, to the last one.

        Raises:
            Transient: a page could not be read: the listing is not complete.
        """
        raise NotImplementedError

    def now(self) -> datetime:
        """The server's clock (its `Date` header plus the time since), in UTC."""
        raise NotImplementedError
