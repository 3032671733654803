"""The agent on real servers: ends, cancelling, attaching again, draining, two agents."""

import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.integration.agents import (
    AgentProcess,
    cheap_deployment,
    ensure_pool,
    executions,
    process_block,
)
from tests.testbed import seed

FLOWS = """
import os, subprocess, sys, time
from prefect import flow

@flow
def add(a: int = 1, b: int = 2):
    print("sum", a + b, "in", os.getcwd())
    return a + b

@flow
def fail():
    raise ValueError("on purpose")

@flow
def vanish():
    os._exit(3)

@flow
def sleepy(file: str = ""):
    child = subprocess.Popen(["sleep", "300"])
    with open(os.environ["NOTES"], "w") as notes:
        notes.write(f"{os.getpid()} {child.pid}")
    time.sleep(120)
"""


@pytest.fixture
def bench(server, tmp_path):
    with server.client() as client:
        client.timeout = 90
        ensure_pool(client)
        yield Bench(server, client, tmp_path)


class Bench:
    def __init__(self, server, client, folder):
        self.server, self.client, self.folder = server, client, folder
        (folder / "flows").mkdir()
        (folder / "flows" / "all.py").write_text(FLOWS)

    def deploy(self, name, **block):
        infrastructure = process_block(self.client, name, **block) if block else None
        return seed.deployment(
            self.client,
            name,
            flow_name=name,
            work_pool_name="default-agent-pool",
            path=str(self.folder / "flows"),
            entrypoint=f"all.py:{name}",
            infrastructure_document_id=infrastructure,
            enforce_parameter_schema=False,
        )["id"]

    def run(self, name, **block):
        return seed.flow_run(self.client, self.deploy(name, **block))["id"]

    def wait(self, run, *states, seconds=90):
        return seed.wait_for_state(self.client, run, states or seed.FINAL, seconds=seconds)

    def agent(self, name="one", **options):
        return AgentProcess(self.server, self.folder, name, **options)

    def sleeper(self):
        """Start a flow with a child process; return the run and the two pids once it runs."""
        notes = self.folder / "notes"
        run = self.run("sleepy", env={"NOTES": str(notes)})
        seed.wait_until(lambda: notes.exists() and " " in notes.read_text(), seconds=90)
        return run, [int(pid) for pid in notes.read_text().split()]


def alive(pids):
    return [
        pid
        for pid in pids
        if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    ]


def test_real_flows_end_in_the_state_that_tells_what_happened(bench):
    good, bad, gone = bench.run("add"), bench.run("fail"), bench.run("vanish")
    with bench.agent():
        assert bench.wait(good)["state_type"] == "COMPLETED"
        assert bench.wait(bad)["state_type"] == "FAILED"
        crashed = bench.wait(gone)["state"]
    assert crashed["type"] == "CRASHED"
    assert "exit code 3" in crashed["message"]
    log = bench.folder / "one" / "runs" / f"{good}.log"
    assert f"in {bench.folder / 'one' / 'work'}" in log.read_text(), "a fresh folder for each run"
    assert list((bench.folder / "one" / "work").iterdir()) == []


def test_infrastructure_of_a_type_that_nobody_can_launch_fails_the_run(bench):
    run = bench.run("add", working_dir="/nowhere/at/all")
    with bench.agent():
        state = bench.wait(run)["state"]
    assert state["type"] == "FAILED"
    assert "/nowhere/at/all" in state["message"]


def test_a_killed_flow_crashes_with_the_likely_reason(bench):
    with bench.agent():
        run, pids = bench.sleeper()
        os.kill(pids[0], signal.SIGKILL)
        state = bench.wait(run)["state"]
        assert state["type"] == "CRASHED"
        assert "out of memory" in state["message"]
        assert alive(pids) == [], "its children would meet the next attempt"


def test_cancelling_kills_the_process_and_its_children_before_the_state_is_cancelled(bench):
    with bench.agent():
        run, pids = bench.sleeper()
        assert len(alive(pids)) == 2
        state = {"state": {"type": "CANCELLING"}}
        seed.request(bench.client, "POST", f"/flow_runs/{run}/set_state", state)
        bench.wait(run, "CANCELLED")
        assert alive(pids) == []


def test_a_run_survives_the_agent_and_is_watched_by_the_next(bench):
    with bench.agent("first") as first:
        run, pids = bench.sleeper()
        first.kill()
        with bench.agent("second") as second:
            second.wait_for("watch it again")
            assert len(alive(pids)) == 2
            os.kill(pids[0], signal.SIGKILL)
            state = bench.wait(run)["state"]
        assert state["type"] == "CRASHED"
        assert "earlier agent" in state["message"]
        assert alive(pids) == []


def test_draining_stops_local_runs_and_says_so(bench):
    with bench.agent() as agent:
        run, pids = bench.sleeper()
        assert agent.stop() == 0
        state = bench.wait(run)["state"]
    assert state["type"] == "CRASHED"
    assert "agent stopped" in state["message"]
    assert alive(pids) == []


def test_cancelling_while_no_agent_lives_is_done_by_the_next(bench):
    with bench.agent("first") as first:
        run, pids = bench.sleeper()
        first.kill()
        state = {"state": {"type": "CANCELLING"}}
        seed.request(bench.client, "POST", f"/flow_runs/{run}/set_state", state)
        with bench.agent("second"):
            bench.wait(run, "CANCELLED")
        assert alive(pids) == []


def test_run_once_takes_what_is_due_and_returns(bench, tmp_path):
    deployment = cheap_deployment(bench.client, tmp_path)
    runs = [seed.flow_run(bench.client, deployment)["id"] for _ in range(3)]
    agent = bench.agent(run_once=True)
    with agent:
        assert agent.process.wait(180) == 0
    assert sorted(executions(tmp_path)) == sorted(runs)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_agents_on_a_hundred_runs_make_a_hundred_executions(bench, tmp_path):
    deployment = cheap_deployment(bench.client, tmp_path)
    runs = [seed.flow_run(bench.client, deployment)["id"] for _ in range(100)]
    # As in service: with a heartbeat of one second a busy SQLite server lets nobody be fresh.
    how = {"limit": 4, "heartbeat_seconds": 10, "poll_seconds": 2}
    with bench.agent("one", **how) as one, bench.agent("two", **how) as two:
        try:
            seed.wait_until(lambda: len(executions(tmp_path)) >= 100, seconds=400)
        except TimeoutError:
            waiting = set(runs) - set(executions(tmp_path))
            told = [
                line for a in (one, two) for line in a.events if any(r in line for r in waiting)
            ]
            states = [bench.client.get(f"/flow_runs/{run}").json()["state"] for run in waiting]
            pytest.fail(f"{len(waiting)} runs were not executed: {states[:5]}\n" + "\n".join(told))
        for run in runs:
            assert bench.wait(run)["state_type"] == "COMPLETED"
        started = [sum(e.startswith("started") for e in agent.events) for agent in (one, two)]
    assert sorted(executions(tmp_path)) == sorted(runs)
    assert min(started) > 0, started
    # A claim that comes after another agent ran the flow is refused before its start, and leaves
    # just the mark that says so.
    marks = [json.loads(mark.read_text()) for mark in (tmp_path / "host").glob("processes/*.json")]
    assert not [mark for mark in marks if mark["started"]]
    assert not [mark for mark in marks if Path(mark["folder"]).exists()]
