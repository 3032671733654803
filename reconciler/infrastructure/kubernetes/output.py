"""The output of a Job's pod: followed line by line, or the end of it."""

from contextlib import aclosing
from datetime import UTC, datetime

from reconciler.errors import Transient
from reconciler.infrastructure.base import NotStarted
from reconciler.infrastructure.base.logs import Logs
from reconciler.infrastructure.kubernetes.pods import LOG_OF_FLOW, Place
from reconciler.infrastructure.kubernetes.reasons import is_running, newest
from reconciler.runtime.backoff import Backoff
from reconciler.runtime.clock import Clock

_BACKOFF = Backoff(first=1.0, ceiling=30.0)


async def tail(place: Place, lines: int, *, ended: bool = False) -> tuple[str, ...]:
    """Return the last lines of the newest pod's log; none where there is none.

    Args:
        place: of the Job.
        lines: how many at most.
        ended: the Job has (`Cluster.text`).

    Raises:
        Transient: the cluster does not answer.
    """
    try:
        pod = newest(await place.pods())
        if pod is None or not is_running(pod):
            return ()
        query = (*LOG_OF_FLOW, ("tailLines", str(lines)))
        path = place.log_path(pod["metadata"]["name"])
        text = await place.cluster.text(path, query, ended=ended)
    except NotStarted:  # no such pod any more, or we may not read logs
        return ()
    return tuple(text.splitlines()[-lines:])


async def follow(place: Place, run_id: str, logs: Logs, since: float, clock: Clock) -> None:
    """Pass the output of a pod that runs on until it ends; go on where the connection breaks.

    Args:
        place: of the Job.
        run_id: of the flow run.
        logs: where the lines go.
        since: seconds since 1970; what is older was passed on by an earlier agent.
        clock: to wait with.

    Raises:
        NotStarted, NotLaunchable: there is no pod, or its log may not be read.
    """
    last = _stamp(since)
    delays = _BACKOFF.delays()
    pod = None
    while True:
        try:
            if pod is None:
                found = newest(await place.pods())
                if found is None:
                    return
                pod = found["metadata"]["name"]
            # The API takes whole seconds only, so some lines come again.
            query = (
                *LOG_OF_FLOW,
                ("follow", "true"),
                ("timestamps", "true"),
                ("sinceTime", f"{last[:19]}Z"),
            )
            async with aclosing(place.cluster.stream(place.log_path(pod), query)) as lines:
                async for line in lines:
                    when, _, text = line.decode(errors="replace").rstrip("\r\n").partition(" ")
                    if _key(when) > _key(last):
                        last = when
                        logs.add(run_id, [text], stream=True)
        except Transient as error:
            await clock.sleep(error.retry_after or next(delays))
        else:
            return


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _key(stamp: str) -> tuple[str, str]:
    """Return what orders timestamps, whose fractions have up to nine digits."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return whole, fraction.ljust(9, "0")
