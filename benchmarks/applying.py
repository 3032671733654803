"""First and second apply of fifty deployments, beside `prefect deploy --all` and bare requests.

    python -m benchmarks.applying [--version 2|3] [--rounds N]

One `prefect.yaml` for both. The floor is what a client can't do without: one POST for each
deployment, one after the other by a bare httpx client, since a SQLite server refuses a second writer.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml

from benchmarks import bed
from benchmarks.report import Row, command
from tests.e2e.serving import Serving
from tests.testbed import seed
from tests.testbed.git_http import GitHttpServer
from tests.testbed.prefect import PrefectServer

COUNT = 50
_BUSY = 503
_REST = 6.0
"""Seconds after which a server has done what the one before has left it to do: events, schedules."""
# Prefect 3.8.8's `deploy` ends after its first deployment, since its own server refuses the
# question for workers (422, tried); so the peer is told that there are none. 2.20 needs no help.
_DEPLOY = """
import sys
from prefect.client.orchestration import PrefectClient
async def none(*_, **__): return []
PrefectClient.read_workers_for_work_pool = none
from prefect.cli import app
sys.argv = ["prefect", "--no-prompt", "deploy", "--all"]
app()
"""


class Bed:
    """A server and a project."""

    def __init__(self, server: PrefectServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        (folder / "flow.py").write_text("from prefect import flow\n@flow\ndef noop(): pass\n")
        deployments = [
            {
                "name": f"d{number}",
                "flow_name": "noop",
                "entrypoint": "flow.py:noop",
                "tags": ["bench", f"team-{number % 5}"],
                "parameters": {},
                "work_pool": {"name": "pool"},
                "schedules": [{"cron": f"{number} 3 * * *", "timezone": "Europe/Berlin"}],
            }
            for number in range(COUNT)
        ]
        step = {"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}
        project = {"name": "bench", "pull": [step], "deployments": deployments}
        (folder / "prefect.yaml").write_text(yaml.safe_dump(project))
        (folder / "reconciler.yaml").write_text("name: bench\n")
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
        self.env = {
            **server.client_env,
            "PREFECT_HOME": str(folder / "home"),
            "RECONCILER_STATE_DIR": str(folder / "state"),
        }

    def fresh(self) -> None:
        """Empty the server, but for the pool."""
        self.server.reset()
        with self.server.client() as client:
            seed.request(client, "POST", "/work_pools/", {"name": "pool", "type": "process"})
        time.sleep(_REST)

    def prefect(self) -> bed.Taken:
        """Run `prefect deploy --all`."""
        taken = bed.run([str(self.server.python), "-c", _DEPLOY], self.env, cwd=self.folder)
        self._check()
        return taken

    def reconciler(self) -> bed.Taken:
        """Run `reconciler apply`."""
        command = [str(bed.RECONCILER), "apply", "--yes"]
        taken = bed.run(command, self.env, cwd=self.folder)
        self._check()
        return taken

    def bare(self) -> bed.Taken:
        """Send the bare requests."""
        with self.server.client() as client:
            flow = seed.flow(client, "noop")
        deployments = yaml.safe_load((self.folder / "prefect.yaml").read_text())["deployments"]
        bodies = [
            {
                "name": one["name"],
                "flow_id": flow,
                "tags": one["tags"],
                "entrypoint": one["entrypoint"],
                "work_pool_name": "pool",
                "schedules": [{"schedule": one["schedules"][0], "active": True}],
                "enforce_parameter_schema": False,
            }
            for one in deployments
        ]
        began, cpu = time.perf_counter(), time.process_time()
        with httpx.Client(timeout=60) as http:
            for body in bodies:
                url = f"{self.server.url}/deployments/"
                while (answer := http.post(url, json=body)).status_code == _BUSY:
                    time.sleep(0.05)  # the server's own scheduler writes, too
                answer.raise_for_status()
        taken = bed.Taken(time.perf_counter() - began, time.process_time() - cpu)
        self._check()
        return taken

    def service(self, rounds: int) -> list[float]:
        """Return the seconds from a push's webhook to the end of its turn, nothing declared changed."""
        served = self.folder / "served"
        served.mkdir()
        place = self.folder / "serving"
        place.mkdir()
        with (
            GitHttpServer(served) as git,
            Serving(self.server, place, git.url("shop.git"), served / "shop.git") as desk,
        ):
            for name in ("prefect.yaml", "reconciler.yaml", "flow.py"):
                desk.work.put(name, (self.folder / name).read_text())
            desk.push()
            desk.start("--no-agent")
            self._check()
            found = []
            for number in range(rounds):
                desk.work.put("notes.txt", f"{number}")
                head, last = desk.push(), desk.status["turned_at"]
                began = time.perf_counter()
                desk.hook(after=head)
                desk.until(lambda last=last: desk.status["turned_at"] != last)
                found.append(time.perf_counter() - began)
                assert desk.status["revision"] == head
            return found

    def _check(self) -> None:
        with self.server.client() as client:
            assert len(seed.listing(client, "deployments")) == COUNT


@contextmanager
def prepared(version: int) -> Iterator[Bed]:
    """Start a server and lay the project out."""
    with tempfile.TemporaryDirectory() as folder, PrefectServer(version) as server:
        yield Bed(server, Path(folder))


def measure(version: int, rounds: int) -> Iterator[Row]:
    """Yield what was measured."""
    with prepared(version) as table:
        first: list[list[float]] = [[], [], []]
        second: list[list[float]] = [[], []]
        for _ in range(rounds):
            table.fresh()
            first[0].append(table.prefect().seconds)
            second[0].append(table.prefect().seconds)
            table.fresh()
            first[1].append(table.reconciler().seconds)
            second[1].append(table.reconciler().seconds)
            table.fresh()
            first[2].append(table.bare().seconds)
        table.fresh()
        served = table.service(rounds)
    name = f"Prefect {table.server.version}"
    what = f"first apply of {COUNT} deployments"
    peer = "`prefect deploy --all`"
    yield Row(what, f"{name}, {peer}", first[0], first[1], target=4, unit="s")
    yield Row(what, f"{name}, bare POSTs (floor)", first[2], first[1], target=1 / 1.5, unit="s")
    what = f"second apply of {COUNT} unchanged deployments, from the command line"
    yield Row(what, f"{name}, {peer}", second[0], second[1], target=20, unit="s")
    what = f"a push that leaves {COUNT} deployments unchanged, in the service"
    yield Row(what, f"{name}, {peer}", second[0], served, target=50, unit="s")


if __name__ == "__main__":
    command(__doc__, measure, rounds=5)
