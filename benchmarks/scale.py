"""Ten thousand objects: a plan beside the bare listing, one changed file, and memory.

python -m benchmarks.scale [--version 2|3] [--count N] [--rounds N]
"""

import asyncio
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from benchmarks import bed
from benchmarks.report import Row, command
from tests.testbed.prefect import PrefectServer

_PAGE = 200


def document(number: int, region: str) -> str:
    """Return one deployment's manifest."""
    return (
        f"kind: Deployment\nname: d{number}\nflow_name: flow{number % 100}\n"
        f"entrypoint: flows/f.py:main\npath: /srv/code\ntags: [a, team-{number % 7}]\n"
        f"parameters: {{n: {number}, region: {region}}}\nwork_queue_name: default\n"
        f'schedules: [{{cron: "{number % 60} 3 * * *", timezone: Europe/Berlin, active: false}}]\n'
    )


class Bed:
    """A server and a tree of so many deployments."""

    def __init__(self, server: PrefectServer, folder: Path, count: int) -> None:
        self.server, self.folder, self.count = server, folder / "tree", count
        (self.folder / "deployments").mkdir(parents=True)
        (self.folder / "reconciler.yaml").write_text("name: big\n")
        for number in range(count):
            self.write(number, "eu")
        subprocess.run(["git", "init", "-q", str(self.folder)], check=True)
        self.env = {**server.client_env, "RECONCILER_STATE_DIR": str(folder / "state")}

    def write(self, number: int, region: str) -> None:
        """Write one deployment's file."""
        path = self.folder / "deployments" / f"{number:05}.yaml"
        path.write_text(document(number, region))

    def reconciler(self, *words: str) -> tuple[bed.Taken, float]:
        """Run a command; return what it took, and the most memory in MB."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        taken = bed.run([str(bed.RECONCILER), *words], self.env, cwd=self.folder)
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        return taken, max(before, most) / 1024

    def listing(self) -> bed.Taken:
        """List all deployments with a bare client, pages one after the other."""
        began, cpu = time.perf_counter(), time.process_time()
        asyncio.run(self._list())
        return bed.Taken(time.perf_counter() - began, time.process_time() - cpu)

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


def measure(version: int, rounds: int, count: int = 10_000) -> Iterator[Row]:
    """Yield what was measured."""
    with tempfile.TemporaryDirectory() as folder, bed.on_postgres(version) as server:
        table = Bed(server, Path(folder), count)
        taken, memory = table.reconciler("apply", "--yes")
        print(f"first apply: {taken}, {memory:.0f} MB", flush=True)
        bare, plans = [], []
        for _ in range(rounds):
            bare.append(table.listing().seconds)
            taken, memory = table.reconciler("plan")
            plans.append(taken.seconds)
            print(f"listing {bare[-1]:.1f} s, plan {taken}, {memory:.0f} MB", flush=True)
    name = f"Prefect {server.version} on PostgreSQL, bare listing (floor)"
    yield Row(f"plan at {count:,} unchanged deployments", name, bare, plans, 1 / 1.3, "s")


if __name__ == "__main__":
    command(__doc__, measure, rounds=5)
