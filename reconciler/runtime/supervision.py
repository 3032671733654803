"""Supervision: a task that fails is started again, with back-off, and takes nothing else along."""

from collections.abc import Awaitable, Callable

import anyio

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


async def race(*contenders: Callable[[], Awaitable[object]]) -> None:
    """Run all, and cancel the others when the first returns.

    An exception of one cancels the others and comes out as it is.
    """
    try:
        async with anyio.create_task_group() as group:

            async def run(contender: Callable[[], Awaitable[object]]) -> None:
                await contender()
                group.cancel_scope.cancel()

            for contender in contenders:
                group.start_soon(run, contender)
    except* Exception as failures:  # noqa: BLE001 - unwrapped and raised again
        raise _first(failures) from None


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
