"""No due run is lost and none runs twice when schedules are rewritten while an agent works them off.

Every slot of a schedule has exactly one execution, whatever `apply` does in the meantime to the
deployment. An execution is a line in a file; its slot is what the flow run was made for.
"""

import re
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.agreement import age_leases
from tests.e2e.site import change, deployment, process
from tests.integration.agents import CHEAP
from tests.testbed import seed, warm
from tests.testbed.cli import Cli
from tests.testbed.fault import When

ANCHOR = datetime(2024, 1, 1, tzinfo=UTC)
STEADY = {"interval": 3, "anchor_date": ANCHOR.isoformat()}
ABROAD = {**STEADY, "timezone": "Asia/Tokyo"}
"""The same moments; Prefect 2.20 spells them differently in the keys of its runs."""
SECOND = {"interval": 5, "anchor_date": (ANCHOR + timedelta(seconds=0.5)).isoformat()}
KEY = "deployment/etl/nightly"
PAUSE = 90
"""Seconds; a Prefect 3 server on SQLite now and then locks itself out for its time-out of 60 s."""


def moments(schedule, after, until):
    """The slots of a schedule in a stretch of time."""
    step, anchor = schedule["interval"], datetime.fromisoformat(schedule["anchor_date"])
    first = int((after - anchor).total_seconds() // step) + 1
    last = int((until - anchor).total_seconds() // step)
    return [anchor + timedelta(seconds=step * number) for number in range(first, last + 1)]


class Works:
    """A deployment that runs every three seconds, and what came of it."""

    def __init__(self, site, tmp_path):
        self.site = site
        self.file = tmp_path / "executions"
        self.fields = {"schedules": [STEADY], "tags": ["a"], "parameters": {"n": 0}}
        command = [sys.executable, "-I", "-S", "-c", CHEAP, str(self.file)]
        site.write("etl.yaml", process(command=command, stream_output=False))
        self.declare()
        site.apply()
        self.began = datetime.now(UTC)
        self.id = site.deployment("nightly")["id"]

    def declare(self, **fields):
        self.fields |= fields
        self.site.write("nightly.yaml", deployment(**self.fields))

    def rewrite(self, **fields):
        """Change the manifest and apply it."""
        self.declare(**fields)
        for _ in range(4):
            done = self.site.run("apply", "--yes", "--lock-timeout", str(PAUSE))
            if done.code == 0:
                return
            # The server may have paused for longer than a lease lasts; then the next apply goes on.
        raise AssertionError(done)

    def agent(self):
        home = self.site.cli.home
        env = {"RECONCILER_AGENT_POLL_SECONDS": "0.3", **self.site.server.client_env}
        return Cli(home, env).start("agent")

    def runs(self):
        with self.client() as client:
            return seed.listing(client, "flow_runs", deployments={"id": {"any_": [self.id]}})

    def client(self):
        client = self.site.server.client()
        client.timeout = PAUSE
        return client

    def executed(self):
        """How often each slot was executed."""
        lines = self.file.read_text().split() if self.file.exists() else []
        runs = self.runs()
        slots = {run["id"]: slot(run) for run in runs}
        # The agent's own end may meet a run before its first line: that was its execution.
        lines += [run["id"] for run in runs if stopped(run) and run["id"] not in lines]
        lost = [line for line in lines if line not in slots]
        assert not lost, f"executed, but the server knows no such runs any more: {lost}"
        return Counter(slots[line] for line in lines)

    def claim_ahead(self):
        """Take a run before its time, as Prefect's own workers do; return its id."""
        soon = datetime.now(UTC) + timedelta(seconds=4)
        coming = [
            run
            for run in self.runs()
            if run["state_type"] == "SCHEDULED"
            and datetime.fromisoformat(run["expected_start_time"]) > soon
        ]
        run = min(coming, key=lambda run: run["expected_start_time"])
        with self.client() as client:
            seed.set_state(client, run["id"], "PENDING")
        return run["id"]

    def finish_claimed(self, id_):
        with self.file.open("a") as file:
            file.write(f"{id_}\n")
        with self.client() as client:
            seed.set_state(client, id_, "COMPLETED")

    def require_once(self, expected):
        """Wait until the slots were executed, and assert that none was executed twice."""
        deadline = time.monotonic() + 2 * PAUSE
        while missing := set(expected) - set(self.executed()):
            assert time.monotonic() < deadline, self.story(missing)
            pause(0.5)
        twice = [moment for moment, times in self.executed().items() if times > 1]
        assert twice == [], self.story(twice)

    def story(self, slots):
        """Say what the server knows of some slots."""
        return [
            (run["expected_start_time"], run["idempotency_key"], run["created"], run["state"])
            for run in self.runs()
            if slot(run) in slots
        ] or slots


def slot(run):
    """The moment in a run's key: what it was made for, also if it is started at another time."""
    date = re.search(r"\d{4}-\d\d-\d\d.*", run["idempotency_key"])
    return datetime.fromisoformat(date.group()).astimezone(UTC)


def stopped(run):
    return run["state_type"] == "CRASHED" and "agent stopped" in run["state"]["message"]


def pause(seconds):
    """Let runs fall due."""
    time.sleep(seconds)


@pytest.fixture
def works(site, tmp_path):
    return Works(site, tmp_path)


def rewrite_while_working(works):
    """One change of each sort, with runs falling due all the time."""
    works.rewrite(description="new")
    works.rewrite(parameters={"n": 1})
    works.rewrite(schedules=[STEADY, SECOND])
    second_from = datetime.now(UTC)
    claimed = works.claim_ahead()
    works.rewrite(tags=["a", "b"])
    works.rewrite(schedules=[ABROAD, SECOND])
    works.rewrite(parameter_openapi_schema={"type": "object", "properties": {}})  # 2.20: a POST
    pause(1)
    second_until = datetime.now(UTC)
    works.finish_claimed(claimed)
    works.rewrite(schedules=[ABROAD, {**SECOND, "active": False}])
    works.rewrite(schedules=[STEADY, {**SECOND, "active": False}])
    works.rewrite(schedules=[STEADY])
    return second_from, second_until


def rewrite_while_late(works):
    """Changes while nobody takes the runs, so that they are late."""
    pause(4)
    works.rewrite(description="late")
    works.rewrite(schedules=[ABROAD])
    pause(3)
    works.rewrite(tags=["late"])
    works.rewrite(schedules=[STEADY])


@pytest.mark.timeout(900)
def test_every_slot_is_executed_once_while_schedules_are_rewritten(works):
    with works.agent() as agent:
        seed.wait_until(works.executed, seconds=PAUSE)
        second = rewrite_while_working(works)
        agent.terminate()
        agent.wait(PAUSE)
    rewrite_while_late(works)
    until = datetime.now(UTC)
    expected = moments(STEADY, works.began, until) + moments(SECOND, *second)
    with works.agent():
        works.require_once(expected)


@pytest.mark.parametrize(
    "fields", [{"description": "new"}, {"schedules": [ABROAD]}], ids=["a field", "the schedules"]
)
def test_no_run_is_lost_when_the_apply_is_killed_between_write_and_refill(works, fields):
    pause(4)  # runs are late
    works.declare(**fields)
    path = f"/deployments/{works.id}$"
    works.site.proxy.kill_at(1, warm.running, When.AFTER, path=path, method="PATCH")
    assert works.site.run("apply", "--yes").code == -9
    works.site.proxy.heal()
    pause(4)  # runs fall due that nobody has scheduled
    age_leases(works.site.server)
    report = works.site.apply()
    assert report["converged"]
    assert "interrupted" in change(report, KEY)["reason"]
    works.site.settled()
    until = datetime.now(UTC)
    with works.agent():
        works.require_once(moments(STEADY, works.began, until))
