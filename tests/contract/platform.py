"""What the matrix needs of a platform: the infrastructure that one launcher launches on, for real."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, Self

FLOW = """
import json, os, sys, time, urllib.request
run, api = os.environ["PREFECT__FLOW_RUN_ID"], os.environ["PREFECT_API_URL"]
does, mark = os.environ.get("DOES", "success"), os.environ.get("MARK", "")

def post(url, body):
    for attempt in range(60):
        try:
            data = json.dumps(body).encode()
            headers = {"content-type": "application/json"}
            return urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=10)
        except Exception:
            time.sleep(0.2)

def state(kind):
    post(f"{api}/flow_runs/{run}/set_state", {"state": {"type": kind}})

post(os.environ["NOTEBOOK_URL"], {"run": run, "mark": mark})
state("RUNNING")
print("working on", run, flush=True)
if does == "slow":
    time.sleep(600)
if does == "exit3":
    print("it went wrong", flush=True)
    sys.exit(3)
state("COMPLETED")
"""
"""A 'flow run' for any container with Python: notes its execution, then does what DOES says.

It runs where the network is the host's, so that 127.0.0.1 reaches the servers of the test.
"""


class Does(StrEnum):
    """What a run's infrastructure is to do."""

    SUCCESS = "success"
    EXIT_3 = "exit3"
    SLOW = "slow"  # runs until it is ended
    MISSING_IMAGE = "missing image"
    NEVER_STARTS = "never starts"  # the platform doesn't get it started within the time-out


@dataclass(frozen=True)
class AgentPlace:
    """What an agent is given to reach a platform.

    Attributes:
        platforms: values for `PlatformSettings`, by field name.
        env: variables of the agent's process.
    """

    platforms: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)


class Platform(Protocol):
    """A platform that runs. One lives as long as a test process; tests clean up by `clear`."""

    slug: str
    """Of the block type."""
    can: frozenset[Does]
    """What it can be made to do; the rest makes no sense on this type, and its page says why."""
    handle_before_start: bool
    """Whether the pid is known, and so recorded, before the start (not on ECS)."""

    def __enter__(self) -> Self:
        """Start it; what can't start raises."""
        ...

    def __exit__(self, *_: object) -> None:
        """Stop it and remove what it left on the machine."""
        ...

    def place(self, folder: Path, *, faults: float = 0.0) -> AgentPlace:
        """Say how an agent reaches it; with `faults`, that share of its API's answers are errors."""
        ...

    def block(self, does: Does, env: dict[str, str]) -> dict[str, Any]:
        """Return a block's data: runs FLOW with `python3 -c` (or `python`), with this environment.

        Args:
            does: what it is to do; `env` has DOES for the first three already.
            env: variables of the flow run.
        """
        ...

    def kill(self, run_id: str) -> None:
        """End the run's infrastructure behind everybody's back."""
        ...

    def at_work(self) -> list[str]:
        """Name what still executes something at this moment."""
        ...

    def leftovers(self) -> list[str]:
        """Name what launches left on the platform (what a setting of the block keeps excepted)."""
        ...

    def clear(self) -> None:
        """Remove everything that earlier tests left."""
        ...
