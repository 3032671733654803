"""The output of containers: followed line by line, or the end of it."""

from typing import TYPE_CHECKING

from reconciler.infrastructure.base import NotStarted
from reconciler.infrastructure.base.logs import Logs
from reconciler.infrastructure.docker.client import Engine, asking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def tail(engine: Engine, container: str, lines: int) -> tuple[str, ...]:
    """Return the last lines of a container's log; none where the engine keeps none.

    Raises:
        Transient: the engine does not answer.
    """
    try:
        frames = await engine.ask(
            lambda docker: docker.containers.container(container).log(
                stdout=True, stderr=True, tail=lines
            )
        )
    except NotStarted:  # no such container, or a log driver that can't be read
        return ()
    return tuple("".join(frames).splitlines()[-lines:])


async def follow(engine: Engine, container: str, run_id: str, logs: Logs, since: float) -> None:
    """Pass a container's output on until it ends.

    Args:
        engine: that has the container.
        container: its id.
        run_id: of the flow run.
        logs: where the lines go.
        since: seconds since 1970; what is older was passed on by an earlier agent.

    Raises:
        Transient: the engine does not answer.
        NotStarted: it has no log.
    """
    rest = ""
    with asking():
        frames: AsyncIterator[str] = engine.docker.containers.container(container).log(
            stdout=True, stderr=True, follow=True, since=f"{since:.6f}"
        )
        async for frame in frames:
            *whole, rest = f"{rest}{frame}".split("\n")
            logs.add(run_id, [line.rstrip("\r") for line in whole], stream=True)
    if rest:
        logs.add(run_id, [rest], stream=True)
