"""Flow runs per second, CPU per run, and the time from due to the flow's first line.

    python -m benchmarks.flow_runs [--version 2|3] [--rounds N]

Latency is that of runs made by hand at odd moments, due at once, with everything at its default.

The same server, the same flow, the same limit: first the peer (Prefect 3.8's process worker, 2.20's
agent), then this program, in turns.
"""

import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import bed
from benchmarks.report import Row, command
from tests.integration.agents import ensure_pool, process_block
from tests.testbed import seed
from tests.testbed.prefect import PrefectServer

RUNS = 24
LIMIT = 8
LATE_RUNS = 21  # their latencies lie between 2 and 20 s
FLOW = """
import time
from prefect import flow, runtime

@flow
def noop():
    with open({notes!r}, "a") as file:
        file.write(f"{{runtime.flow_run.id}} {{time.time()}}\\n")
"""


@dataclass(frozen=True, slots=True)
class Round:
    """What a round took.

    Attributes:
        seconds: per run, from the moment that all are due until all are Completed.
        cpu: seconds of a core per run, the launching process's own work included.
    """

    seconds: float
    cpu: float


class Bed:
    """A server with the deployments of both sides."""

    def __init__(self, server: PrefectServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.notes = folder / "notes"
        (folder / "code").mkdir()
        (folder / "code" / "flow.py").write_text(FLOW.format(notes=str(self.notes)))
        self.client = server.client()
        ensure_pool(self.client)
        block = process_block(self.client, "bench", stream_output=False, env={}, command=None)
        self.ours = self._deploy("ours", "default-agent-pool", infrastructure_document_id=block)
        if server.major == 2:
            self.theirs = self.ours
        else:
            body = {"name": "workers", "type": "process"}
            seed.request(self.client, "POST", "/work_pools/", body)
            self.theirs = self._deploy("theirs", "workers")

    def _deploy(self, name: str, pool: str, **fields: object) -> str:
        made = seed.deployment(
            self.client,
            name,
            flow_name="noop",
            work_pool_name=pool,
            entrypoint="flow.py:noop",
            path=str(self.folder / "code"),
            enforce_parameter_schema=False,
            **fields,
        )
        return str(made["id"])

    def env(self, home: str) -> dict[str, str]:
        """Return the environment of an agent, with a home of its own."""
        where = self.folder / home
        where.mkdir(exist_ok=True)
        return {
            **self.server.client_env,
            "PREFECT_HOME": str(where),
            "RECONCILER_AGENT_PYTHON": str(self.server.python),
            "RECONCILER_AGENT_STATE_DIR": str(where / "state"),
        }

    def peer(self) -> bed.Measured:
        """Start Prefect's own."""
        prefect = str(self.server.python.with_name("prefect"))
        if self.server.major == 2:
            command = [prefect, "agent", "start", "-p", "default-agent-pool", "--limit", str(LIMIT)]
            ready = "Agent started"
        else:
            command = [prefect, "worker", "start", "--type", "process", "-p", "workers"]
            command += ["--limit", str(LIMIT)]
            ready = "started!"
        return self._started(command, "peer", ready)

    def us(self) -> bed.Measured:
        """Start this program's agent."""
        return self._started([str(bed.RECONCILER), "agent", "--limit", str(LIMIT)], "us", "serves")

    def _started(self, command: list[str], home: str, ready: str) -> bed.Measured:
        made = bed.Measured(command, self.env(home), self.folder / f"{home}.log")
        seed.wait_until(lambda: ready.encode() in made.log.read_bytes(), seconds=120)
        time.sleep(3)  # its first look for runs is over
        return made

    def round(self, agent: bed.Measured, deployment: str) -> Round:
        """Make all runs due at once, wait for the last, end the agent."""
        with agent:
            agent.mark()
            began = time.perf_counter()
            runs = [seed.flow_run(self.client, deployment)["id"] for _ in range(RUNS)]
            seed.wait_until(lambda: self.left(runs) == 0, seconds=600)
            seconds = time.perf_counter() - began
            time.sleep(5)  # the last processes have ended
            return Round(seconds / RUNS, agent.stop() / RUNS)

    def latencies(self, agent: bed.Measured, deployment: str) -> list[float]:
        """Make runs at odd moments; return the seconds from due to the flow's first line."""
        found = []
        with agent:
            for number in range(1 + LATE_RUNS):
                time.sleep(random.uniform(8, 14))
                due = time.time()
                run = seed.flow_run(self.client, deployment)["id"]
                seed.wait_until(lambda run=run: run in self._noted(), seconds=120)
                seed.wait_until(lambda run=run: run in self.completed(), seconds=120)
                if number:  # the first one finds everything cold
                    found.append(self._noted()[run] - due)
            agent.stop()
        return found

    def _noted(self) -> dict[str, float]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return {run: float(at) for run, at in map(str.split, lines)}

    def left(self, runs: list[str]) -> int:
        """Count the runs that are not Completed; a cheap question, since the server is what we load."""
        state = {"type": {"any_": ["COMPLETED"]}}
        body = {"flow_runs": {"id": {"any_": runs}, "state": state}}
        time.sleep(0.1)
        return len(runs) - int(seed.request(self.client, "POST", "/flow_runs/count", body))

    def completed(self) -> set[str]:
        """Return the ids of the runs that are Completed."""
        only = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        time.sleep(0.1)
        return {run["id"] for run in seed.listing(self.client, "flow_runs", **only)}


def measure(version: int, rounds: int) -> Iterator[Row]:
    """Yield what was measured."""
    theirs, ours = [], []
    with tempfile.TemporaryDirectory() as folder, bed.on_postgres(version) as server:
        table = Bed(server, Path(folder))
        for _ in range(rounds):
            theirs.append(table.round(table.peer(), table.theirs))
            ours.append(table.round(table.us(), table.ours))
        late = table.latencies(table.peer(), table.theirs), table.latencies(table.us(), table.ours)
    peer = f"Prefect {server.version}'s {'agent' if version == 2 else 'process worker'}"
    what, fast = f"{RUNS} no-op flow runs at limit {LIMIT}", 10 if version == 2 else 5
    times = [r.seconds for r in theirs], [r.seconds for r in ours]
    yield Row(f"{what}: time per run", peer, *times, target=fast, unit="s")
    used = [r.cpu for r in theirs], [r.cpu for r in ours]
    yield Row(f"{what}: CPU per run", peer, *used, target=fast, unit="s")
    yield Row("due to the flow's first line, at defaults", peer, *late, target=5, unit="s")


if __name__ == "__main__":
    command(__doc__, measure, rounds=5)
