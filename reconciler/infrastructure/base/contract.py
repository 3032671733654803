"""What a launcher is: the contract that every infrastructure type keeps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from reconciler.blocks.base import InfrastructureSettings
from reconciler.errors import UserError
from reconciler.model.launch import Ended, Found, Handle, LaunchSpec, Sought
from reconciler.runtime.clock import Clock
from reconciler.settings import PlatformSettings

Output = Callable[[str, str], None]
"""Takes (flow run id, line): where the output of flow runs goes that is to be streamed."""


class NotLaunchable(UserError):  # noqa: N818 - it reads as the sentence it is
    """The infrastructure can't be made as declared; the message says why, without secrets.

    The run becomes FAILED.
    """


class NotStarted(NotLaunchable):
    """The platform did not give what was declared: no such image, no quota, no engine.

    The run becomes CRASHED, as under Prefect's own agent (facts). Raised only where it is certain
    that nothing was started: where that is open, a `Transient` error leaves the run claimed, and
    the next survey looks for it under its token.
    """


def no_output(run_id: str, line: str) -> None:
    """Drop a line of output."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What launchers are given of the machine that they run on.

    Attributes:
        state_dir: for logs and run folders; private to this user.
        host_dir: for marks that every agent of this host and user must see, whatever its settings.
        inherited: gives the environment that a local process inherits, rid of our own settings and
            credentials (`reconciler.settings.flow_run_environment`); asked at each launch, since the
            policy may come to name other providers of secrets.
        python: the interpreter of local flow runs.
        clock: to wait with.
        warm: whether local flow runs may be forked from a process that has Prefect imported.
        ahead: variables that each flow run is given, where such a process may be made before a run
            needs it; None where the agent may have nothing to launch at all.
        output: where streamed lines go.
        images: default image of flow runs in containers, by the server's version.
        platforms: addresses and certificate authorities of the platforms.
    """

    state_dir: Path
    host_dir: Path
    inherited: Callable[[], Mapping[str, str]] = field(repr=False)
    python: str
    clock: Clock
    warm: bool = False
    ahead: Mapping[str, str] | None = field(default=None, repr=False)
    output: Output = no_output
    images: str = ""
    platforms: PlatformSettings = field(default_factory=PlatformSettings)


class Launcher(Protocol):
    """Launches flow runs on one type of infrastructure; knows nothing of Prefect's API.

    The order of calls for a launch is find, create, [the agent records the handle], start, ended,
    discard. After a restart of the agent it is find, then ended or start as the answer says.
    The launch token is the identity of a launch: `find` sees what any process made under it, and
    a second `create` under it never makes a second one where the backend can refuse a name.
    """

    slug: ClassVar[str]
    """Slug of the block type, `process`."""
    local: ClassVar[bool]
    """Whether runs live on the agent's own machine: they see its files and end with it."""
    host_bound: bool
    """Whether only agents on the host that made it can reach the infrastructure: local processes,
    a container engine behind a local socket."""
    settings: ClassVar[type[InfrastructureSettings]]
    """The typed model of the block's data."""

    def owns(self, pid: str) -> bool:
        """Tell from an `infrastructure_pid` whether that infrastructure can be reached from here."""
        ...

    async def find(self, sought: Sought) -> Found | None:
        """Look up what was made under a token.

        Where the platform was asked and has nothing under the token, the answer is that it was
        never started: what is not there can't run, so it may be launched under its token. None
        says that this can't be known here.

        Raises:
            Transient: the platform doesn't answer.
        """
        ...

    async def create(self, spec: LaunchSpec) -> Handle:
        """Make the infrastructure, not started where the backend allows; else prepare all of it.

        What an earlier `create` made under the token is taken over, started or not.

        Raises:
            NotLaunchable: it can't be made as declared.
            NotStarted: the platform refuses it.
        """
        ...

    async def start(self, handle: Handle) -> Handle:
        """Give the word to start, and remember durably, before, that it was given.

        Whatever the timing, a second start under one token starts nothing twice.

        Returns:
            The handle, with the pid that the platform gave it only now.

        Raises:
            NotLaunchable: it is gone.
            NotStarted: the platform refuses to start it.
            Transient: nobody knows whether it started.
        """
        ...

    async def ended(self, handle: Handle) -> Ended:
        """Wait for the end. Cancelling the wait leaves the infrastructure alone.

        A start that takes longer than the block's time-out is an end too: the launcher stops what
        it started, and gives that as the reason.
        """
        ...

    async def stop(self, handle: Handle, grace: float) -> None:
        """Stop it with everything that it started, kill it after `grace` seconds; return when gone.

        What is gone already is fine.
        """
        ...

    async def discard(self, handle: Handle) -> None:
        """Remove what an ended or never started launch leaves behind, its log excepted.

        That a launch was never started must stay known (`find`), or else it looks like one that was
        started and whose traces are lost.
        """
        ...

    async def logs(self, sought: Sought, lines: int) -> tuple[str, ...]:
        """Return the last lines of a launch's log, oldest first.

        The platform's own, for as long as it has them; else those that are kept on this machine. A
        platform that does not answer is no error: then the kept ones are all there is.
        """
        ...

    async def watch(self) -> None:
        """Serve all `ended` of this backend; run once, under supervision, while the agent lives.

        One stream or batch for all runs: the number of calls must not grow with theirs.
        """
        ...

    async def preflight(self, settings: InfrastructureSettings, api_url: str) -> tuple[str, ...]:
        """Say what makes a launch with these settings impossible (DESIGN 7.10)."""
        ...

    async def close(self) -> None:
        """Close connections; what is watched goes on elsewhere."""
        ...
