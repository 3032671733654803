"""What pages, API and webhooks need of the service behind them."""

from dataclasses import dataclass, field
from typing import Protocol

from reconciler.controller.board import Board
from reconciler.model.keys import Key
from reconciler.model.status import SourceStatus
from reconciler.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """The embedded agent.

    Attributes:
        name: under which Prefect shows it.
        pool: that it serves.
        active: runs that it is at work on.
        limit: most runs at a time; None without a limit.
    """

    name: str
    pool: str
    active: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where this service stands, for people.

    Attributes:
        api: address of the Prefect API, for people.
        server: what answers there, `Prefect 3.8.8`; "" before it answered.
        inventory: name and environment.
        repositories: other spellings of the followed repository, for webhooks.
    """

    api: str
    server: str = ""
    inventory: str = ""
    repositories: tuple[str, ...] = field(default=())


class Backend(Protocol):
    """A running service."""

    @property
    def board(self) -> Board:
        """What it knows."""
        ...

    @property
    def metrics(self) -> Metrics:
        """What it counts."""
        ...

    @property
    def place(self) -> Place:
        """Where it stands."""
        ...

    @property
    def source(self) -> SourceStatus | None:
        """What it follows; None if it only runs the agent."""
        ...

    @property
    def agent(self) -> AgentStatus | None:
        """Its agent; None if it only reconciles."""
        ...

    @property
    def unready(self) -> str | None:
        """Why it should get no traffic yet; None if it should."""
        ...

    def poll(self) -> None:
        """Ask the remote now whether the ref moved."""
        ...

    def reconcile(self) -> None:
        """Take a turn now."""
        ...

    def suspend(self, suspended: bool) -> None:  # noqa: FBT001 - the value is the verb's object
        """Let turns only look, or go on."""
        ...

    def heal(self, key: Key) -> None:
        """Take git's values for one resource at the next turn."""
        ...
