"""One stream of events for all containers of flow runs, and a listing now and then beside it."""

from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import anyio

from reconciler.errors import Unreachable
from reconciler.infrastructure.base import Ends, NotStarted
from reconciler.infrastructure.docker.client import Engine, Missing, asking
from reconciler.infrastructure.docker.reasons import REMOVED, explain
from reconciler.infrastructure.docker.request import KEEP_LABEL, TOKEN_LABEL
from reconciler.model.launch import Ended
from reconciler.runtime.clock import Clock
from reconciler.runtime.supervision import race

_LIST_EVERY = 30.0
"""Seconds. A stream over a network can die in silence."""
_SWEEP_AFTER = 3600.0
"""Seconds. Whoever launched a container, its run has been dealt with by then."""
_ENDED = frozenset({"exited", "dead"})


class Watcher:
    """Learns of the ends of containers.

    The engine is asked for one stream and, each half minute, for one list, however many runs there
    are; and once for each end. Nothing is asked while nobody waits.
    """

    def __init__(self, engine: Engine, ends: Ends, clock: Clock) -> None:
        self._engine = engine
        self._ends = ends
        self._clock = clock
        self._tokens: dict[str, str] = {}
        self._left: dict[str, float] = {}
        self._wanted = anyio.Event()

    def add(self, container: str, token: str) -> None:
        """Watch a container, by its id."""
        self._tokens[container] = token
        self._wanted.set()

    def forget(self, token: str) -> None:
        """Watch a launch no more."""
        self._tokens = {one: held for one, held in self._tokens.items() if held != token}
        self._ends.forget(token)

    async def watch(self) -> None:
        """Watch until it fails; whoever supervises it calls again.

        Raises:
            Transient: the engine does not answer any more.
        """
        await self._wanted.wait()
        info = await self._engine.ask(lambda docker: docker.system.info())
        # By the engine's clock, before the first list: what ends between the two is in the stream.
        since = datetime.fromisoformat(info["SystemTime"]).timestamp() - 1
        await race(partial(self._listen, since), self._keep_listing)
        raise Unreachable("the Docker engine's stream of events ended")

    async def _listen(self, since: float) -> None:
        events: Any = self._engine.docker.events
        told = events.subscribe(create_task=False)
        kinds = {"type": ["container"], "event": ["die", "destroy"], "label": [TOKEN_LABEL]}

        async def run() -> None:
            with asking():
                await events.run(since=f"{since:.6f}", filters=kinds)

        async def take() -> None:
            while (event := await told.get()) is not None:
                await self._take(event)

        await race(run, take)

    async def _take(self, event: dict[str, Any]) -> None:
        container = event.get("id") or event.get("Actor", {}).get("ID", "")
        if container in self._tokens:
            await self._look(container)

    async def _keep_listing(self) -> None:
        filters = {"label": [TOKEN_LABEL]}
        while True:
            listed = await self._engine.ask(
                lambda docker: docker.containers.list(all=True, filters=filters)
            )
            states = {one["Id"]: one["State"] for one in listed}
            for container in list(self._tokens):
                if states.get(container, "gone") in {"gone", *_ENDED}:
                    await self._look(container)
            left = {
                one["Id"]
                for one in listed
                if one["State"] in _ENDED and one["Labels"].get(KEEP_LABEL) != "true"
            }
            await self._sweep(left - set(self._tokens))
            await self._clock.sleep(_LIST_EVERY)

    async def _sweep(self, left: set[str]) -> None:
        """Remove containers that have been left over for long."""
        now = self._clock.monotonic()
        self._left = {container: self._left.get(container, now) for container in left}
        for container, since in self._left.items():
            if now - since >= _SWEEP_AFTER:
                with suppress(NotStarted):  # gone, or on its way: another agent sweeps too
                    await self._engine.remove(container)

    async def _look(self, container: str) -> None:
        """Look at a container that may have ended."""
        token = self._tokens.get(container)
        if token is None:
            return
        try:
            shown = await self._engine.ask(
                lambda docker: docker.containers.container(container).show()
            )
        except Missing:
            self._tell(container, Ended(None, REMOVED))
            return
        state = shown["State"]
        if state["Status"] in _ENDED:
            self._tell(container, Ended(state.get("ExitCode"), explain(state)))

    def _tell(self, container: str, ended: Ended) -> None:
        token = self._tokens.pop(container, None)
        if token is not None:
            self._ends.tell(token, ended)
