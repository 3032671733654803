"""Two services on one repository: whoever writes is killed or cut off, again and again.

What must hold: no revision's content is ever written over a newer one's, the other one goes on
within a lease's time, and each flow run is executed once. The seed is printed.

Prefect 3.8.8 on SQLite may answer nobody for a minute (`tests/testbed/prefect_process.py` tells why and
keeps that rare). Nobody can go on meanwhile, so that time is not counted, and printed.
"""

import json
import os
import random
import signal
import statistics
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace

import httpx
import pytest
import yaml

from tests.e2e.serving import Serving
from tests.testbed import seed as seeds
from tests.testbed.fault import Fault, FaultProxy, Rule
from tests.testbed.git_http import GitHttpServer
from tests.testbed.thorough import often

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

LEASE = 5.0
SOON = 2 * LEASE + 5
PAUSE = 2.0
BLOCKS = 6
FLOW = """\
import os
from prefect import flow

@flow
def mark():
    with open(os.environ["MARKS"], "a") as marks:
        marks.write(os.environ["PREFECT__FLOW_RUN_ID"] + "\\n")
"""


class Replica:
    """A service behind a proxy of its own."""

    def __init__(self, server, folder, url, bare, name):
        self.proxy = FaultProxy(server.url).__enter__()
        folder.mkdir()
        self.desk = Serving(server, folder, url, bare)
        env = {**self.desk.cli.env, "PREFECT_API_URL": self.proxy.url}
        self.desk.cli = replace(self.desk.cli, env=env)
        self.desk.env |= {
            "RECONCILER_LEASE_SECONDS": str(LEASE),
            "RECONCILER_POLL_SECONDS": "0.2",
            "RECONCILER_DRIFT_SECONDS": "20",
            "RECONCILER_AGENT_NAME": name,
            "RECONCILER_AGENT_PYTHON": str(server.python),
            "RECONCILER_API_DEADLINE_SECONDS": "10",
        }

    def start(self):
        self.desk.start(ready=False)

    def kill(self):
        os.kill(self.desk.running.pid, signal.SIGKILL)
        self.desk.running.wait(20)

    @property
    def alive(self):
        return self.desk.running.code is None

    @property
    def writes(self):
        """What it wrote into the blocks: time, block, revision."""
        found = []
        for seen in list(self.proxy.requests):
            if not seen.is_write or "block_documents" not in seen.path or seen.status is None:
                continue
            data = json.loads(seen.body or b"{}").get("data") or {}
            number = (data.get("env") or {}).get("REVISION")
            if number is not None and seen.status < 300:
                found.append((seen.at, data["env"]["BLOCK"], int(number)))
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.desk.__exit__(None, None, None)
        self.proxy.__exit__(None, None, None)


def declare(work, number, marks):
    documents = [
        {
            "kind": "Block",
            "block_type_slug": "process",
            "name": f"b-{one}",
            "data": {"env": {"BLOCK": str(one), "REVISION": str(number)}},
        }
        for one in range(BLOCKS)
    ]
    deployment = {
        "kind": "Deployment",
        "flow_name": "mark",
        "name": "mark",
        "description": str(number),
        "entrypoint": "mark.py:mark",
        "path": "$STORAGE_BASE_PATH",
        "infrastructure": {"type": "process", "env": {"MARKS": str(marks)}},
    }
    work.put("all.yaml", yaml.safe_dump_all([*documents, deployment]))


def in_force(client, number):
    """Tell whether all of a revision is there: its deployment too, which is written after the blocks."""
    try:
        found = seeds.listing(client, "block_documents")
        deployments = seeds.listing(client, "deployments")
    except httpx.TimeoutException:
        return False  # Prefect on SQLite, under two writers; asked again
    numbers = [
        (one["data"].get("env") or {}).get("REVISION")
        for one in found
        if (one["name"] or "").startswith("b-")
    ]
    described = [one["description"] for one in deployments if one["name"] == "mark"]
    return numbers == [str(number)] * BLOCKS and described == [str(number)]


class Pulse:
    """Asks a server again and again whether it answers at all, past every proxy.

    Attributes:
        pauses: begin and end of each time in which it did not.
    """

    def __init__(self, server):
        self.pauses = []
        self._url = f"{server.url}/block_documents/filter"
        self._asked = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self):
        with httpx.Client(timeout=180, trust_env=False) as client:
            while not self._ended.wait(0.2):
                self._asked = time.monotonic()
                with suppress(httpx.TransportError):
                    client.post(self._url, json={"limit": 1})
                if time.monotonic() - self._asked > PAUSE:
                    self.pauses.append((self._asked, time.monotonic()))

    def lost(self, begin, end):
        """Return the seconds between two moments in which there was no answer."""
        now = time.monotonic()
        pauses = [*self.pauses, *([(self._asked, now)] if now - self._asked > PAUSE else [])]
        return sum(max(0.0, min(end, b) - max(begin, a)) for a, b in pauses)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join(200)


class Chaos:
    """Two replicas, and somebody who breaks the one that writes.

    Attributes:
        number: the seed.
        runs: flow runs that were asked for.
        takeovers: seconds from a fault to the first write of the other one.
    """

    def __init__(self, server, folder, stack):
        self.number = int(os.environ.get("RECONCILER_SEED") or random.randrange(10**6))
        print(f"RECONCILER_SEED={self.number}")
        self.chance = random.Random(self.number)
        self.marks = folder / "marks"
        self.marks.touch()
        served = folder / "served"
        served.mkdir()
        url = stack.enter_context(GitHttpServer(served)).url("shop.git")
        self.both = [
            stack.enter_context(Replica(server, folder / name, url, served / "shop.git", name))
            for name in ("one", "two")
        ]
        self.client = stack.enter_context(server.client())
        self.client.timeout = 90  # it may say nothing for a minute
        self.pulse = stack.enter_context(Pulse(server))
        self.runs, self.takeovers = [], []
        self.desk = self.both[0].desk
        self.desk.work.put("mark.py", FLOW)

    def push(self, turn):
        declare(self.desk.work, turn, self.marks)
        self.desk.push()
        return time.monotonic()

    def settle(self, turn, seconds=60):
        began = time.monotonic()

        def settled_or_late():
            now = time.monotonic()
            return (
                in_force(self.client, turn) or now - began - self.pulse.lost(began, now) > seconds
            )

        seeds.wait_until(settled_or_late, seconds=600)
        if not in_force(self.client, turn):
            said = "\n----\n".join(one.desk.output[-4000:] for one in self.both)
            raise AssertionError(f"seed {self.number}, {turn}: nobody went on\n{said}")

    def run(self):
        deployment = seeds.request(self.client, "GET", "/deployments/name/mark/mark")["id"]
        url = f"/deployments/{deployment}/create_flow_run"
        made = seeds.request(self.client, "POST", url, {"state": {"type": "SCHEDULED"}})
        self.runs.append(made["id"])

    def round(self, turn):
        pushed = self.push(turn)
        if turn % 2 == 0:
            self.run()
        time.sleep(self.chance.uniform(0.2, 1.6))
        writer = max(self.both, key=lambda one: max((w[0] for w in one.writes), default=0.0))
        other = self.both[1 - self.both.index(writer)]
        cut = self.chance.random() < 0.5
        name = "kill"
        if cut:
            fault = self.chance.choice([Fault.RESET, Fault.HANG])
            name = fault.name.lower()
            writer.proxy.add(Rule(fault, path="/block_", seconds=60))
        else:
            writer.kill()
        broken = time.monotonic()
        self.settle(turn, seconds=120)
        after = [at for at, _, revision in other.writes if revision == turn and at > broken]
        if after:
            begin, end = max(broken, pushed), min(after)
            lost = self.pulse.lost(begin, end)
            self.takeovers.append(end - begin - lost)
            silent = f", and {lost:.1f} s without a server" if lost else ""
            print(f"{turn}: {name}, taken over after {self.takeovers[-1]:.1f} s{silent}")
            if self.takeovers[-1] > SOON:
                print("\n----\n".join(one.desk.output[-6000:] for one in (writer, other)))
        if cut:
            writer.proxy.heal()
        else:
            writer.start()

    def check_order(self):
        """See that no older revision was written over a newer one."""
        newest = dict.fromkeys(map(str, range(BLOCKS)), -1)
        for _, block, revision in sorted(write for one in self.both for write in one.writes):
            assert revision >= newest[block], (self.number, block, revision, newest)
            newest[block] = revision

    def check_runs(self):
        """See that each flow run completed, and was executed once."""
        for run in self.runs:
            state = seeds.wait_for_state(self.client, run, seconds=180)["state"]
            assert state["type"] == "COMPLETED", f"seed {self.number}, {run}: {state['message']}"
        assert sorted(self.marks.read_text().split()) == sorted(self.runs), self.number


@pytest.mark.parametrize(("major", "rounds"), [(3, often(50, 8)), (2, often(10, 4))])
def test_the_writer_is_killed_or_cut_off_at_random(request, tmp_path, major, rounds):
    rounds = int(os.environ.get("RECONCILER_ROUNDS") or rounds)
    with ExitStack() as stack:
        chaos = Chaos(request.getfixturevalue(f"prefect{major}"), tmp_path, stack)
        chaos.push(0)
        for one in chaos.both:
            one.start()
        chaos.settle(0)
        for turn in range(1, rounds + 1):
            chaos.round(turn)
        while not chaos.takeovers and turn < 5 * rounds:  # each writer was done before its end
            turn += 1
            chaos.round(turn)
        chaos.check_order()
        chaos.check_runs()
    longest, middle = max(chaos.takeovers), statistics.median(chaos.takeovers)
    print(
        f"Prefect {major}: {rounds} faults, {len(chaos.takeovers)} takeovers,"
        f" median {middle:.1f} s, longest {longest:.1f} s, lease {LEASE:.0f} s"
    )
    assert longest < SOON
