"""Every infrastructure type through every ending: one execution, the right state, nothing left.

`make matrix` writes the results to docs/infrastructure/matrix.md.
"""

import pytest

from tests.contract.bench import LONG
from tests.contract.platform import Does
from tests.integration.agents import settle
from tests.testbed import seed
from tests.testbed.fault import Fault, Rule, When

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BEFORE_CREATE = r"/deployments/[^/]+$"
RECORD = BEFORE_START = r"/flow_runs/[0-9a-f-]{36}$"
"""Written to record the handle, read to ask whether the claim still holds."""


def test_success(bench_on_both):
    bench = bench_on_both
    run = bench.run(Does.SUCCESS)
    bench.agent()
    assert bench.ended(run)["type"] == "COMPLETED", bench.story()
    bench.executed_once(run)
    bench.nothing_left()


def test_exit_3(bench_on_both):
    bench = bench_on_both
    run = bench.run(Does.EXIT_3)
    bench.agent()
    state = bench.ended(run)
    assert state["type"] == "CRASHED", bench.story()
    assert "exit code 3" in state["message"]
    assert "it went wrong" in state["message"], "the last lines of its log"
    bench.executed_once(run)
    bench.nothing_left()


def test_killed_from_outside(bench):
    run = bench.run(Does.SLOW)
    bench.agent()
    bench.running(run)
    bench.platform.kill(run)
    state = bench.ended(run)
    assert state["type"] == "CRASHED", bench.story()
    assert state["message"].strip()
    bench.executed_once(run)
    bench.nothing_left()


@pytest.mark.needs(Does.MISSING_IMAGE)
def test_image_missing(bench):
    run = bench.run(Does.MISSING_IMAGE)
    bench.agent()
    state = bench.ended(run)
    assert state["type"] == "CRASHED", bench.story()
    assert "image" in state["message"].lower()
    bench.executed_once()
    bench.nothing_left()


@pytest.mark.needs(Does.NEVER_STARTS)
def test_start_time_out(bench):
    run = bench.run(Does.NEVER_STARTS)
    bench.agent()
    state = bench.ended(run)
    assert state["type"] == "CRASHED", bench.story()
    assert "start" in state["message"].lower()
    bench.executed_once()
    bench.nothing_left()


def test_cancelled_before_the_start(bench):
    run = bench.run(Does.SUCCESS)
    proxy = bench.proxy()
    proxy.add(
        Rule(Fault.NONE, path=BEFORE_START, method="GET", limit=1, action=lambda: bench.cancel(run))
    )
    bench.agent(url=proxy.url)
    assert bench.ended(run)["type"] == "CANCELLED", bench.story()
    bench.executed_once()
    bench.nothing_left()


def test_cancelled_while_running(bench_on_both):
    bench = bench_on_both
    run = bench.run(Does.SLOW)
    bench.agent()
    bench.running(run)
    bench.cancel(run)
    assert bench.ended(run)["type"] == "CANCELLED", bench.story()
    assert bench.platform.at_work() == [], "stopped before the state says so"
    bench.executed_once(run)
    bench.nothing_left()


KILLS = {
    "before create": (BEFORE_CREATE, When.AFTER, "GET"),
    "after create, before record": (RECORD, When.BEFORE, "PATCH"),
    "after record": (RECORD, When.AFTER, "PATCH"),
    "before start": (BEFORE_START, When.BEFORE, "GET"),
}


@pytest.mark.parametrize("moment", list(KILLS))
def test_the_agent_is_killed(bench, moment):
    path, when, method = KILLS[moment]
    run = bench.run(Does.SUCCESS)
    proxy = bench.proxy()
    agent = bench.agent("killed", url=proxy.url)
    proxy.kill_at(1, agent.process.pid, when, path=path, method=method)
    seed.wait_until(lambda: agent.process.poll() is not None, seconds=LONG)
    bench.agent("next")
    assert bench.ended(run)["type"] == "COMPLETED", bench.story()
    settle()
    bench.executed_once(run)
    bench.nothing_left()


def test_the_agent_is_killed_while_running(bench):
    run = bench.run(Does.SLOW)
    agent = bench.agent("killed")
    bench.running(run)
    agent.kill()
    again = bench.agent("next")
    again.wait_for("attached", seconds=LONG)
    bench.cancel(run)
    assert bench.ended(run)["type"] == "CANCELLED", bench.story()
    assert bench.platform.at_work() == []
    bench.executed_once(run)
    bench.nothing_left()


def test_two_agents_race(bench):
    deployment = bench.deploy(Does.SUCCESS)
    runs = [seed.flow_run(bench.client, deployment)["id"] for _ in range(6)]
    bench.agent("one")
    bench.agent("two")
    assert {bench.ended(run)["type"] for run in runs} == {"COMPLETED"}, bench.story()
    settle()
    bench.executed_once(*runs)
    bench.nothing_left()


def test_the_platform_errs_a_third_of_the_time(bench):
    deployment = bench.deploy(Does.SUCCESS)
    runs = [seed.flow_run(bench.client, deployment)["id"] for _ in range(4)]
    bench.agent(faults=0.3)
    assert {bench.ended(run)["type"] for run in runs} == {"COMPLETED"}, bench.story()
    settle()
    bench.executed_once(*runs)
    bench.nothing_left()


def test_overrides_by_dotted_path(bench):
    run = bench.run(Does.SUCCESS, job_variables={"env.MARK": "overridden"})
    bench.agent()
    assert bench.ended(run)["type"] == "COMPLETED", bench.story()
    assert bench.notebook.entries == [{"run": run, "mark": "overridden"}]
    bench.nothing_left()
