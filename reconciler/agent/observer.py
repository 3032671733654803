"""What the agent tells of its work."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Happening(StrEnum):
    """What may happen."""

    CLAIMED = "claimed"
    STARTED = "started"
    ATTACHED = "attached"
    ENDED = "ended"
    REQUEUED = "requeued"
    STOPPING = "stopping"
    PROBLEM = "problem"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """One thing that happened.

    Attributes:
        what: its kind.
        text: one sentence for people, without secrets.
        run_id: the flow run, None if it is about the agent.
        run_name: its name.
        state: the type of the run's state at its end, `COMPLETED`; None before.
        seconds: how long the run took; of a start, how long after the run was due; else None.
        infrastructure: slug of the block type that it runs on, where known.
        pid: Prefect's handle of that infrastructure, where known.
    """

    what: Happening
    text: str
    run_id: str | None = None
    run_name: str | None = None
    state: str | None = None
    seconds: float | None = None
    infrastructure: str | None = None
    pid: str | None = None


Observer = Callable[[AgentEvent], None]


def silent(event: AgentEvent) -> None:
    """Take no notice."""
