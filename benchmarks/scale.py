"""Ten thousand objects: a plan beside the bare listing, one changed file, memory; and an idle service.

python -m benchmarks.scale [--version 2|3] [--rounds N]
"""

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import psutil

from benchmarks import bed
from benchmarks.report import Row, command
from tests.e2e.serving import Serving
from tests.testbed import seed
from tests.testbed.cli import COMMAND
from tests.testbed.fault import FaultProxy, Seen
from tests.testbed.git_http import GitHttpServer
from tests.testbed.prefect import VERSIONS, PrefectServer

COUNT = 10_000
_LIMITS = {"requests": 8, "cpu": 0.3, "large": 250, "small": 90, "idle": 1.0}
_IDLE_SECONDS = 60
_PAGE = 200


def document(number: int, region: str) -> str:
    """Return one deployment's manifest."""
    return (
        f"kind: Deployment\nname: d{number}\nflow_name: flow{number % 100}\n"
        f"entrypoint: flows/f.py:main\npath: /srv/code\ntags: [a, team-{number % 7}]\n"
        f"parameters: {{n: {number}, region: {region}}}\nwork_queue_name: default\n"
        f'schedules: [{{cron: "{number % 60} 3 * * *", timezone: Europe/Berlin, active: false}}]\n'
    )


class Service:
    """A service behind a proxy that counts its requests, which follows a repository of so many."""

    def __init__(self, server: PrefectServer, folder: Path, stack: ExitStack, count: int) -> None:
        served = folder / "served"
        served.mkdir()
        url = stack.enter_context(GitHttpServer(served)).url("shop.git")
        self.proxy = stack.enter_context(FaultProxy(server.url))
        self.desk = stack.enter_context(Serving(server, folder, url, served / "shop.git"))
        env = {**self.desk.cli.env, "PREFECT_API_URL": self.proxy.url}
        self.desk.cli = replace(self.desk.cli, env=env)
        for number in range(count):
            self.declare(number, "eu")
        self.desk.push()
        self.server, self.count = server, count
        assert self.desk.cli("apply", "--repo", url, "--yes", timeout=3600).code == 0

    def plan(self) -> tuple[float, float]:
        """Plan from the command line; return the seconds and the most memory in MB."""
        began = time.perf_counter()
        process = subprocess.Popen(
            [*COMMAND, "plan", "--repo", self.desk.url],
            env=self.desk.cli.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return time.perf_counter() - began, usage.ru_maxrss / 1000

    def listing(self) -> float:
        """List all deployments with a bare client, pages one after the other; return the seconds."""
        began = time.perf_counter()
        asyncio.run(self._list())
        return time.perf_counter() - began

    async def _list(self) -> None:
        found = 0
        async with httpx.AsyncClient(timeout=120) as http:
            while True:
                body = {"limit": _PAGE, "offset": found}
                answer = await http.post(f"{self.server.url}/deployments/filter", json=body)
                page = answer.raise_for_status().json()
                found += len(page)
                if len(page) < _PAGE:
                    assert found == self.count, found
                    return

    def start(self) -> None:
        """Start the service, and wait until it has looked at everything."""
        settings = {"RECONCILER_DRIFT_SECONDS": "86400", "RECONCILER_AGENT_POLL_SECONDS": "2"}
        self.desk.start(ready=False, **settings)
        self.desk.until(lambda: self.desk.status["revision"], seconds=1200)
        time.sleep(10)  # the first turn's last requests, and the agent's first looks
        for _ in range(3):  # it may mark them as not ready again, having been late itself
            self.desk.until(self._writable, seconds=1200)
            time.sleep(7)
        assert self.desk.running is not None
        self.process = psutil.Process(self.desk.running.pid)

    def _writable(self) -> bool:
        """Whether the server has marked as ready what the agent asks for, for the first time.

        With 10,000 deployments in a pool that locks them all for two minutes, since it makes an
        event of each in one transaction; whoever writes meanwhile gets a 500 (Prefect 3.8.8: tried).
        """
        began = time.perf_counter()
        with self.server.client() as client:
            one = seed.find_deployment(
                client, f"d{self.count - 1}", f"flow{(self.count - 1) % 100}"
            )
            body = {"description": f"at {began}"}  # nobody declares it
            answer = client.patch(f"/deployments/{one['id']}", json=body, timeout=60)
        return answer.is_success and time.perf_counter() - began < 1

    def declare(self, number: int, region: str) -> None:
        """Write one deployment's file."""
        self.desk.work.put(f"deployments/{number:05}.yaml", document(number, region))

    def change(self, number: int, region: str) -> tuple[float, float, int]:
        """Push one changed file; return seconds to its being in force, CPU, and requests.

        The agent's own looks for work are left out of the requests, not of the CPU.
        """
        self.declare(number, region)
        head = self.desk.push()
        before, began, cpu = len(self.proxy.requests), time.perf_counter(), self.cpu()
        last = self.desk.status["turned_at"]
        self.desk.hook(after=head)
        self.desk.until(lambda: self.desk.status["turned_at"] != last)
        seconds = time.perf_counter() - began
        time.sleep(1)
        made = [one for one in self.proxy.requests[before:] if _is_the_reconcilers(one)]
        for one in made:
            print(f"  {one.method} {one.path}")
        return seconds, self.cpu() - cpu, len(made)

    def cpu(self) -> float:
        """Return the seconds of CPU it has used, ended children included."""
        times = [self.process.cpu_times()]
        times += [child.cpu_times() for child in self.process.children(recursive=True)]
        ended = times[0].children_user + times[0].children_system
        return sum(one.user + one.system for one in times) + ended

    def memory(self) -> float:
        """Return its memory in MB, children included, shared pages shared out."""
        processes = [self.process, *self.process.children(recursive=True)]
        return sum(one.memory_full_info().pss for one in processes) / 1e6


def _is_the_reconcilers(one: Seen) -> bool:
    """Tell it from the agent's: its sign of life, its looks for runs and for other agents."""
    if one.path.endswith("/flow_runs/filter"):
        return b"expected_start_time" in one.body  # what a write to a deployment would delete
    return "/work_pools/" not in one.path


def measure(version: int, rounds: int, count: int = COUNT) -> Iterator[Row]:
    """Yield what was measured."""
    name = f"Prefect {VERSIONS[version]} on PostgreSQL"
    with (
        tempfile.TemporaryDirectory() as folder,
        bed.on_postgres(version) as server,
        ExitStack() as stack,
    ):
        service = Service(server, Path(folder), stack, count)
        bare, plans = [], []
        for _ in range(rounds):
            bare.append(service.listing())
            plans.append(service.plan())
            print(
                f"listing {bare[-1]:.1f} s, plan {plans[-1][0]:.1f} s, {plans[-1][1]:.0f} MB",
                flush=True,
            )
        service.start()
        found = [service.change(n, f"r{n}") for n in range(rounds)]
        memory = [service.memory()]
    seconds, cpu, requests = zip(*found, strict=True)
    what = f"one changed file among {count:,}"
    print(f"{what}: seconds {seconds}")
    took, most = zip(*plans, strict=True)
    yield Row(
        f"plan at {count:,} unchanged deployments",
        f"{name}, bare listing (floor)",
        bare,
        took,
        1 / 1.3,
        "s",
    )
    yield _row(f"plan at {count:,} unchanged deployments: memory", name, most, "large", "MB")
    yield _row(f"{what}: requests", name, requests, "requests")
    yield _row(f"{what}: CPU", name, cpu, "cpu", "s")
    yield _row(f"service with {count:,} deployments: memory", name, memory, "large", "MB")
    with (
        tempfile.TemporaryDirectory() as folder,
        bed.on_postgres(version) as server,
        ExitStack() as stack,
    ):
        service = Service(server, Path(folder), stack, 3)
        service.start()
        shares = []
        for _ in range(rounds):
            before = service.cpu()
            time.sleep(_IDLE_SECONDS)
            shares.append((service.cpu() - before) / _IDLE_SECONDS * 100)
        memory = [service.memory()]
    yield _row("idle service: share of a core", name, shares, "idle", "%")
    yield _row("idle service: memory", name, memory, "small", "MB")


def _row(
    what: str, name: str, ours: list[float] | tuple[float, ...], limit: str, unit: str = ""
) -> Row:
    return Row(what, f"{name}, the target", [_LIMITS[limit]] * len(ours), ours, 1, unit)


if __name__ == "__main__":
    command(__doc__, measure, rounds=5)
