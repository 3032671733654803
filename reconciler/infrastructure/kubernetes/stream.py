"""A stream of changes of Kubernetes objects that is resumed where it broke."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from reconciler.errors import Overloaded, Unreachable
from reconciler.infrastructure.kubernetes.client import Cluster, Json, meaning_of
from reconciler.infrastructure.kubernetes.pods import OF_US
from reconciler.runtime.backoff import Backoff
from reconciler.runtime.clock import Clock

_LASTS = 60
"""Seconds after which the API ends a stream by itself, and we look whether anybody still waits."""
_SILENT = _LASTS + 15.0
_BREAKS = 5
"""So often in a row may a stream break before it has told anything."""
_BACKOFF = Backoff(first=0.2, ceiling=5.0)


async def events(
    cluster: Cluster, path: str, version: str, clock: Clock, wanted: Callable[[], bool]
) -> AsyncGenerator[Json, None]:
    """Yield changes, `{"type", "object"}`, for as long as they are wanted.

    Args:
        cluster: that is asked.
        path: of the list.
        version: the resource version from which to follow.
        clock: to wait with.
        wanted: asked each minute.

    Raises:
        Stale: the API does not know the version any more: list anew.
        Transient: the stream breaks again and again.
        NotStarted, NotLaunchable: the API refuses.
    """
    delays, broken = _BACKOFF.delays(), 0
    while wanted():
        query = (
            *OF_US,
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", str(_LASTS)),
        )
        try:
            async with aclosing(cluster.stream(path, query, silent=_SILENT)) as lines:
                async for line in lines:
                    event = _parsed(line)
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        yield event
                    delays, broken = _BACKOFF.delays(), 0
        except (Unreachable, Overloaded) as error:
            broken += 1
            if broken > _BREAKS:
                raise
            await clock.sleep(error.retry_after or next(delays))


def _parsed(line: bytes) -> Json:
    try:
        event: Json = json.loads(line)
    except ValueError:  # the connection was cut in the middle of a line
        raise Unreachable("the cluster's stream of changes broke off") from None
    if event["type"] == "ERROR":
        raise meaning_of(event["object"])
    return event
