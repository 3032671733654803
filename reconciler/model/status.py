"""What a running service knows, as its pages, its API and its messages speak of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from reconciler.model.keys import Key
from reconciler.model.places import Place
from reconciler.model.plan import Change


class ResourceState(StrEnum):
    """How a declared or owned resource stands."""

    IN_SYNC = "in_sync"
    DRIFTED = "drifted"
    OUT_OF_SYNC = "out_of_sync"
    FAILED = "failed"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as of the last reconciliation.

    Attributes:
        key: its name.
        state: how it stands.
        reason: why, one sentence for people; "" where it is in sync.
        source: where it is declared; None where git no longer declares it.
        change: what differs; None where nothing does.
        id: of the live object, where known.
    """

    key: Key
    state: ResourceState
    reason: str = ""
    source: Place | None = None
    change: Change | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """The followed repository.

    Attributes:
        location: URL or path, without credentials.
        ref: branch, tag or commit; None for the remote's HEAD.
        path: folder inside, "" for the root.
        revision: that was fetched last; None before the first.
        fetched_at: when the remote answered last; None before it first did.
        error: what stands in the way of the newest revision, one sentence; None if nothing.
        hint: what to do about it.
    """

    location: str = ""
    ref: str | None = None
    path: str = ""
    revision: str | None = None
    fetched_at: datetime | None = None
    error: str | None = None
    hint: str | None = None


class ApplyResult(StrEnum):
    """How a reconciliation ended."""

    CONVERGED = "converged"
    PARTIAL = "partial"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ApplyRecord:
    """One reconciliation that did something, or could not.

    Attributes:
        id: counts up.
        revision: that was applied; None where none could be read.
        started: when.
        ended: when.
        result: how it ended.
        summary: numbers of changes by outcome: `done`, `failed`, `skipped`, `held`.
        error: what stopped it as a whole; None if nothing.
    """

    id: int
    revision: str | None
    started: datetime
    ended: datetime
    result: ApplyResult
    summary: dict[str, int]
    error: str | None = None


class DriftEnd(StrEnum):
    """How a drift ended."""

    HEALED = "healed"  # we wrote git's value back
    GONE = "gone"  # it was undone in the API, or git took it over


@dataclass(frozen=True, slots=True)
class DriftRecord:
    """One field that changed behind git's back, from when it was first seen to its end.

    Attributes:
        id: counts up.
        key: of the resource.
        path: of the field, dotted; "" where the whole object is concerned.
        cause: `drift` or `both`.
        policy: `heal` or `report`.
        before: what the API holds; JSON, or a mark for a secret.
        after: what git wants, likewise.
        first_seen: when.
        ended: when; None while it lasts.
        end: how.
    """

    id: int
    key: str
    path: str
    cause: str
    policy: str
    before: Any
    after: Any
    first_seen: datetime
    ended: datetime | None = None
    end: DriftEnd | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A flow run that this service's agent looks after, or did.

    Attributes:
        id: of the flow run.
        name: of the flow run.
        infrastructure: slug of the block type; "" where it isn't known yet.
        pid: Prefect's handle of the infrastructure; "" before there is one.
        state: `claimed`, `running`, or the type of its last state in lower case.
        text: the last thing that the agent told of it; of a crash the reason.
        since: when it was taken on.
        ended: when; None while it lasts.
    """

    id: str
    name: str
    infrastructure: str
    pid: str
    state: str
    text: str
    since: datetime
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that people want to know of, as long as it lasts.

    Attributes:
        topic: one of `settings.TOPICS`.
        subject: what it is about: a key, a revision; "" for the service as a whole.
        text: one sentence, without values.
    """

    topic: str
    subject: str
    text: str

    @property
    def id(self) -> str:
        """What tells it from others."""
        return f"{self.topic}:{self.subject}"


@dataclass(frozen=True, slots=True)
class Message:
    """What one message tells.

    Attributes:
        inventory: name and environment.
        server: address of the Prefect API.
        revision: that is in force; None before there is one.
        begun: concerns that are new.
        ended: concerns that are over.
        healed: drift that came and was healed at once.
        link: to the pages; None where their address isn't set.
    """

    inventory: str
    server: str
    revision: str | None
    begun: tuple[Concern, ...] = ()
    ended: tuple[Concern, ...] = ()
    healed: tuple[Concern, ...] = ()
    link: str | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.begun or self.ended or self.healed)
