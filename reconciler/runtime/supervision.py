"""Supervision: a task that fails is started again, with back-off, and takes nothing else along."""

from collections.abc import Awaitable, Callable

from reconciler.runtime.backoff import Backoff
from reconciler.runtime.clock import Clock

_CALM = 60.0
"""Seconds after which a task counts as healthy and its back-off starts anew."""


async def supervise(
    job: Callable[[], Awaitable[None]],
    clock: Clock,
    failed: Callable[[Exception], None],
    backoff: Backoff | None = None,
) -> None:
    """Run a task until it returns; after an exception wait and run it again.

    Args:
        job: makes the task.
        clock: to wait with.
        failed: is told of each exception.
        backoff: the waits; by default 0.25 to 20 seconds.
    """
    waits = backoff or Backoff()
    delays = waits.delays()
    while True:
        begun = clock.monotonic()
        try:
            await job()
        except Exception as error:  # noqa: BLE001 - that is what supervision is for
            failed(error)
        else:
            return
        if clock.monotonic() - begun > _CALM:
            delays = waits.delays()
        await clock.sleep(next(delays))
