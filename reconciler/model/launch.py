"""A flow run on its infrastructure, as the agent and the launchers speak of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """All that a launcher needs to make the infrastructure of one flow run.

    Attributes:
        token: the launch token: the `transition_id` of the accepted PENDING (DESIGN 7.3). It is part
            of the infrastructure's name or idempotency key, so that a launch can be found again.
        flow_run_id: the run.
        name: the infrastructure's name: the block's, else the flow run's. Not unique.
        type: slug of the block type, `process`.
        settings: the block's data with overrides applied, as the typed model of its type.
        env: variables in order of precedence already merged; None means unset. Holds credentials.
        labels: Prefect's labels, then the block's (the user's win).
        command: the block's command; None means the default of the type.
        code: folder with the flow's code on this machine, None if there is none. Whoever holds a
            shared lock (flock) on it keeps it there: the process of the run must, since it may
            outlive the agent.
    """

    token: str
    flow_run_id: str
    name: str
    type: str
    settings: BaseModel = field(repr=False)
    env: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] | None = None
    code: Path | None = None


@dataclass(frozen=True, slots=True)
class Handle:
    """Made infrastructure.

    Attributes:
        token: the launch token that it was made under.
        flow_run_id: the run that it is for.
        pid: Prefect's `infrastructure_pid` of it, in Prefect's own format for the type. None before
            the start on a platform that gives a name only as it starts (ECS).
    """

    token: str
    flow_run_id: str
    pid: str | None


@dataclass(frozen=True, slots=True)
class Sought:
    """A launch that is looked for.

    Attributes:
        token: the launch token.
        flow_run_id: the run.
        pid: the recorded `infrastructure_pid`, None if none was recorded.
        settings: the block's settings as they are now: where to look and with which credentials.
            None if they can't be read any more (the deployment or its block was deleted).
    """

    token: str
    flow_run_id: str
    pid: str | None = None
    settings: BaseModel | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a launch that was looked for.

    Attributes:
        handle: of the infrastructure.
        started: whether the word to start was ever given. True if that cannot be known.
        alive: whether it exists and has not ended.
    """

    handle: Handle
    started: bool
    alive: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a flow run's infrastructure.

    Attributes:
        exit_code: of the main process; None if it cannot be known (a process that an earlier agent
            started); negative for a signal.
        reason: why it ended, one sentence for people.
        last_lines: the end of its log.
    """

    exit_code: int | None
    reason: str
    last_lines: tuple[str, ...] = ()
