"""What the steps of the agent share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio

from reconciler.agent.code import Checkouts
from reconciler.agent.observer import AgentEvent, Happening, Observer
from reconciler.agent.options import AgentOptions
from reconciler.agent.presence import Presence
from reconciler.api.client import Api
from reconciler.api.runs import FlowRun, read_flow_name
from reconciler.infrastructure import Launcher
from reconciler.runtime.clock import Clock

_MOST_NAMES = 10_000


@dataclass(frozen=True, slots=True)
class Context:
    """The agent's surroundings.

    Attributes:
        api: the API.
        options: how to work.
        launchers: by slug of the block type.
        presence: our heartbeat.
        code: serves flow code.
        clock: to wait with.
        observe: is told what happens.
        flow_names: by id, as far as known.
    """

    api: Api
    options: AgentOptions
    launchers: Mapping[str, Launcher]
    presence: Presence
    code: Checkouts
    clock: Clock
    observe: Observer
    flow_names: dict[str, str] = field(default_factory=dict)

    async def flow_name(self, flow_id: str) -> str:
        """Return a flow's name, which nobody can change (`PATCH /flows`: 2.20.26, 3.8.8 read).

        Raises:
            NotFound: it does not exist.
        """
        if flow_id not in self.flow_names:
            if len(self.flow_names) >= _MOST_NAMES:
                self.flow_names.clear()
            self.flow_names[flow_id] = await read_flow_name(self.api, flow_id)
        return self.flow_names[flow_id]

    def tell(
        self,
        what: Happening,
        run: FlowRun,
        text: str,
        *,
        infrastructure: str | None = None,
        seconds: float | None = None,
    ) -> None:
        """Tell the observer of a run."""
        self.observe(
            AgentEvent(
                what,
                text,
                run.id,
                run.name,
                seconds=seconds,
                infrastructure=infrastructure,
                pid=run.pid,
            )
        )

    def owner_of(self, pid: str) -> Launcher | None:
        """Return the launcher that can reach an `infrastructure_pid` from here."""
        return next((one for one in self.launchers.values() if one.owns(pid)), None)


class Stop:
    """The wish that a run stop, and why."""

    CANCEL = "cancel"
    DRAIN = "drain"

    def __init__(self) -> None:
        self.reason: str | None = None
        self._wished = anyio.Event()

    def wish(self, reason: str) -> None:
        """Wish it; the first reason stays."""
        self.reason = self.reason or reason
        self._wished.set()

    async def wished(self) -> None:
        """Wait for the wish."""
        await self._wished.wait()


@dataclass(slots=True)
class ActiveRun:
    """A run that this agent is at work on; it holds a slot.

    Attributes:
        run: as it was read last.
        token: its launch token.
        began: monotonic seconds at its claim.
        worker: the name that the agent had when it took the run on.
        stop: the wish that it stop.
        local: it runs on this machine; None before that is known.
        infrastructure: slug of the block type; None before that is known.
    """

    run: FlowRun
    token: str
    began: float
    worker: str
    stop: Stop = field(default_factory=Stop)
    local: bool | None = None
    infrastructure: str | None = None
