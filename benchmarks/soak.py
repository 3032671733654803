"""A service for a long time: edits, drift and flow runs, while its memory, handles and delays are noted.

    python -m benchmarks.soak [--version 2|3] [--runs N]

Writes `benchmarks/results/soak-VERSION.csv` as it goes, and at the end `docs/soak.md` with a picture
of all that is there.
"""

import argparse
import csv
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.serving import Serving
from tests.testbed import seed
from tests.testbed.environments import environment
from tests.testbed.git_http import GitHttpServer
from tests.testbed.prefect import VERSIONS, PrefectServer

KEPT = Path(__file__).with_name("results")
RUNS = 2_000
_AT_ONCE = 4
_DRIFT_EVERY = 4
_PAGE = """# A long time at work

`make soak` lets one `reconciler serve` with its agent follow a repository for thousands of edits and flow
runs on a real Prefect server, and notes what it uses. Each turn pushes a changed block and a changed
deployment, makes {at_once} flow runs due, and every {every}th time changes the block by hand. The first tenth of
all turns is beside the last one; both are medians. Memory is that of all its processes, shared pages
shared out, without the flow runs; handles are open files and sockets.

{table}

![Memory, handles and delays over the turns](images/soak.svg)
"""
_HEAD = "| Prefect | turns | flow runs | | first tenth | last tenth |\n|---|---|---|---|---|---|"


@dataclass(frozen=True, slots=True)
class Sample:
    """What one turn showed.

    Attributes:
        seconds: since the beginning.
        runs: flow runs that were completed by then.
        memory: of the service, in MB.
        handles: open files and sockets of the service's main process.
        push: seconds from the webhook to the revision in force.
        heal: seconds from asking for a look to the drift's end; empty where there was none.
        launch: seconds from due to RUNNING, the median of the turn's runs.
    """

    seconds: float
    runs: int
    memory: float
    handles: int
    push: float
    heal: float | str
    launch: float


class Soak:
    """A service and what is done to it."""

    def __init__(self, server: PrefectServer, folder: Path, stack: ExitStack) -> None:
        served = folder / "served"
        served.mkdir()
        url = stack.enter_context(GitHttpServer(served)).url("shop.git")
        self.desk = stack.enter_context(Serving(server, folder, url, served / "shop.git"))
        self.client = stack.enter_context(server.client())
        self.declare(0)
        self.desk.push()
        self.desk.start(
            RECONCILER_AGENT_PYTHON=str(server.python),
            RECONCILER_AGENT_POLL_SECONDS="2",
            RECONCILER_AGENT_LIMIT="8",
        )
        assert self.desk.running is not None
        self.process = psutil.Process(self.desk.running.pid)
        path = "/deployments/name/noop/noop"
        self.deployment = seed.request(self.client, "GET", path)["id"]

    def declare(self, turn: int) -> None:
        """Write the manifests of a turn."""
        self.desk.declare(TURN=str(turn))
        self.desk.declare_noop(f"turn-{turn}", stream_output=False)

    def turn(self, number: int, began: float) -> Sample:
        """Push, drift and launch once."""
        push = self._push(number)
        heal = self._heal() if number % _DRIFT_EVERY == 0 else ""
        launch = self._launch()
        processes = [self.process, *self._helpers()]
        memory = sum(one.memory_full_info().pss for one in processes) / 1e6
        handles = self.process.num_fds()
        runs = (number + 1) * _AT_ONCE
        return Sample(time.monotonic() - began, runs, memory, handles, push, heal, launch)

    def _helpers(self) -> Iterator[psutil.Process]:
        """Yield its lasting children: git, and the helper that flow runs are forked from."""
        yield from self.process.children()

    def _push(self, number: int) -> float:
        self.declare(number + 1)
        head = self.desk.push()
        began = time.monotonic()
        self.desk.hook(after=head)
        self.desk.in_force(head)
        return time.monotonic() - began

    def _heal(self) -> float:
        wanted = self.desk.live
        self.desk.edit(TURN="by hand")
        began = time.monotonic()
        self.desk.act("/reconcile")
        self.desk.until(lambda: self.desk.live == wanted)
        return time.monotonic() - began

    def _launch(self) -> float:
        ids = [seed.flow_run(self.client, self.deployment)["id"] for _ in range(_AT_ONCE)]
        runs = [seed.wait_for_state(self.client, id_, seconds=180) for id_ in ids]
        assert all(run["state"]["type"] == "COMPLETED" for run in runs), runs
        return statistics.median(map(_late, runs))


def _late(run: dict[str, Any]) -> float:
    due, start = (datetime.fromisoformat(run[n]) for n in ("expected_start_time", "start_time"))
    return (start - due).total_seconds()


def soak(version: int, runs: int, file: Path) -> None:
    """Do it, and write each turn down."""
    turns = runs // _AT_ONCE
    with (
        tempfile.TemporaryDirectory() as folder,
        PrefectServer(version) as server,
        ExitStack() as stack,
        file.open("w", newline="") as out,
    ):
        table = Soak(server, Path(folder), stack)
        writer = csv.writer(out)
        writer.writerow(field.name for field in fields(Sample))
        began = time.monotonic()
        for number in range(turns):
            sample = table.turn(number, began)
            writer.writerow(astuple(sample))
            out.flush()
            if number % 25 == 0:
                print(f"Prefect {VERSIONS[version]}, {number} of {turns}: {sample}", flush=True)


def summary(version: int, samples: Sequence[dict[str, str]]) -> str:
    """Return the rows of the page for a version."""
    lines = []
    for name, words in {
        "memory": "memory, MB",
        "handles": "handles",
        "push": "push to in force, s",
        "heal": "drift healed once asked, s",
        "launch": "due to RUNNING, s",
    }.items():
        noted = [float(one[name]) for one in samples if one[name]]
        tenth = max(1, len(noted) // 10)
        first, last = (statistics.median(part) for part in (noted[:tenth], noted[-tenth:]))
        head = f"| {VERSIONS[version]} | {len(samples):,} | {int(samples[-1]['runs']):,} "
        lines.append(f"{head}| {words} | {first:.3g} | {last:.3g} |")
    return "\n".join(lines)


def page(files: dict[int, Path]) -> str:
    """Put the page together from what was noted."""
    rows = [_HEAD]
    for version, file in files.items():
        with file.open(newline="") as lines:
            rows.append(summary(version, list(csv.DictReader(lines))))
    return _PAGE.format(at_once=_AT_ONCE, every=_DRIFT_EVERY, table="\n".join(rows))


def main() -> None:
    """Be the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", type=int, action="append", choices=[2, 3])
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    kept = {version: KEPT / f"soak-{version}.csv" for version in (3, 2)}
    for version in options.version or kept:
        soak(version, options.runs, kept[version])
    files = {version: file for version, file in kept.items() if file.exists()}
    Path("docs/soak.md").write_text(page(files), encoding="utf-8")
    command = [environment("plot"), "-m", "benchmarks.plot", *map(str, files.values())]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
