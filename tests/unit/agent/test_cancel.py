"""Cancelling and draining."""

import pytest

from tests.fakes.agents import world

pytestmark = pytest.mark.anyio

OURS = {"type": "CANCELLING"}
OLD_WAY = {"type": "CANCELLED", "name": "Cancelling"}


def ask(w, run, how):
    w.server.force(run, how["type"], how.get("name"))


@pytest.mark.parametrize("how", [OURS, OLD_WAY], ids=["CANCELLING", "CANCELLED named Cancelling"])
async def test_a_cancelled_run_is_stopped_before_it_is_called_cancelled(tmp_path, how):
    async with world(tmp_path) as w:
        w.host.runs_for = None
        run = w.server.schedule()
        agent = w.agent()
        await w.pass_time(4)
        states = []
        original = agent.launcher.stop

        async def stop(handle, grace):
            states.append((w.server.state(run)["name"], grace))
            await original(handle, grace)

        agent.launcher.stop = stop
        ask(w, run, how)
        await w.pass_time(4)
        assert states == [("Cancelling", 30.0)]
        assert w.host.stopped == [run]
        assert (w.server.kind(run), w.server.state(run)["name"]) == ("CANCELLED", "Cancelled")
        assert agent.agent.active == 0
        assert "was cancelled" in agent.texts()[-1]


async def test_an_engine_that_reports_a_crash_while_it_is_cancelled_is_overruled(tmp_path):
    async with world(tmp_path) as w:
        w.host.runs_for = None
        run = w.server.schedule()
        agent = w.agent()
        await w.pass_time(4)
        original = agent.launcher.stop

        async def stop(handle, grace):
            w.server.force(run, "CRASHED")
            await original(handle, grace)

        agent.launcher.stop = stop
        ask(w, run, OURS)
        await w.pass_time(4)
        assert w.server.kind(run) == "CANCELLED"


async def test_what_outlives_a_process_that_ended_before_its_cancel_was_seen_is_stopped(tmp_path):
    async with world(tmp_path) as w:
        w.host.runs_for = None
        run = w.server.schedule()
        agent = w.agent()
        await w.pass_time(4)
        states = []
        original = agent.launcher.stop

        async def stop(handle, grace):
            states.append(w.server.kind(run))
            await original(handle, grace)

        agent.launcher.stop = stop
        ask(w, run, OURS)
        w.host.end(w.host.thing_of(run), 0, "it ended")
        await w.pass_time(1)
        assert states == ["CANCELLING"]
        assert w.server.kind(run) == "CANCELLED"


async def test_a_run_that_completes_while_it_is_cancelled_stays_completed(tmp_path):
    async with world(tmp_path) as w:
        w.host.runs_for = None
        run = w.server.schedule()
        agent = w.agent()
        await w.pass_time(4)
        original = agent.launcher.stop

        async def stop(handle, grace):
            w.server.force(run, "COMPLETED")
            await original(handle, grace)

        agent.launcher.stop = stop
        ask(w, run, OURS)
        await w.pass_time(4)
        assert w.server.kind(run) == "COMPLETED"


async def test_cancelling_before_the_start_starts_nothing(tmp_path):
    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent(poll_seconds=1)
        original = agent.launcher.create

        async def create(spec):
            handle = await original(spec)
            ask(w, run, OURS)
            await w.clock.sleep(3)
            return handle

        agent.launcher.create = create
        await w.pass_time(10)
        assert w.host.executions == []
        assert w.server.kind(run) == "CANCELLED"


async def test_a_run_whose_agent_died_is_stopped_and_cancelled_by_the_next(tmp_path):
    async with world(tmp_path) as w:
        w.host.runs_for = None
        run = w.server.schedule()
        w.agent().launcher  # noqa: B018
        await w.pass_time(4)
        w.members[0].kill()
        ask(w, run, OURS)
        w.agent()
        await w.pass_time(6)
        assert w.host.stopped == [run]
        assert w.server.kind(run) == "CANCELLED"


async def test_a_cancelled_run_of_a_living_agent_elsewhere_is_left_to_it(tmp_path):
    async with world(tmp_path) as w:
        far = w.new_host("far", runs_for=None)
        run = w.server.schedule()
        theirs = w.agent(far, apart=True)
        await w.pass_time(4)
        ours = w.agent(apart=True)
        theirs.launcher.stop = _never
        ask(w, run, OURS)
        await w.pass_time(60)
        assert w.server.kind(run) == "CANCELLING"
        assert not any("set_state" in path for _, path in ours.api.requests)


async def _never(handle, grace):
    raise RuntimeError("this test's agent can't stop anything")


async def test_a_run_that_a_living_agent_is_about_to_launch_is_cancelled_by_that_agent(tmp_path):
    async with world(tmp_path) as w:
        leader = w.agent(queues=("default",), apart=True)
        await w.pass_time(2)
        theirs = w.agent(queues=("slow",), apart=True)
        original = theirs.launcher.create

        async def create(spec):
            ask(w, run, OURS)
            await w.clock.sleep(20)
            return await original(spec)

        theirs.launcher.create = create
        run = w.server.schedule(queue="slow")
        await w.pass_time(15)
        assert w.server.kind(run) == "CANCELLING"
        await w.pass_time(20)
        assert w.server.kind(run) == "CANCELLED"
        assert w.host.executions == []
        assert not any("set_state" in path for _, path in leader.api.requests)


async def test_a_cancelling_run_that_was_never_launched_is_cancelled(tmp_path):
    async with world(tmp_path) as w:
        run = w.server.schedule()
        w.server.force(run, "PENDING")
        ask(w, run, OURS)
        w.agent()
        await w.pass_time(4)
        assert w.server.kind(run) == "CANCELLED"


async def test_a_claimed_run_without_infrastructure_is_cancelled_by_the_next_agent(tmp_path):
    async with world(tmp_path) as w:
        run = w.server.schedule()
        w.agent(steps={"kill_before": "create"})
        await w.pass_time(4)
        ask(w, run, OURS)
        w.agent()
        await w.pass_time(4)
        assert w.server.kind(run) == "CANCELLED"
        assert w.host.executions == []


async def test_draining_takes_nothing_new_and_stops_what_runs_here(tmp_path):
    async with world(tmp_path) as w:
        w.host.runs_for = None
        run = w.server.schedule()
        agent = w.agent(grace_seconds=7)
        await w.pass_time(4)
        agent.stop.set()
        late = w.server.schedule()
        await w.pass_time(4)
        assert agent.over.is_set()
        assert agent.error is None
        assert w.server.kind(run) == "CRASHED"
        assert "agent stopped" in w.server.state(run)["message"]
        assert w.server.kind(late) == "SCHEDULED"
        assert w.host.stopped == [run, run]
        assert w.server.workers == {}


async def test_draining_says_agent_stopped_even_if_the_engine_reported_first(tmp_path):
    async with world(tmp_path) as w:
        w.host.runs_for = None
        run = w.server.schedule()
        agent = w.agent()
        await w.pass_time(4)
        original = agent.launcher.stop

        async def stop(handle, grace):
            w.server.force(run, "CRASHED")
            await original(handle, grace)

        agent.launcher.stop = stop
        agent.stop.set()
        await w.pass_time(4)
        assert "agent stopped" in w.server.state(run)["message"]


async def test_draining_leaves_remote_infrastructure_running_for_the_next_agent(tmp_path):
    async with world(tmp_path) as w:
        w.host.runs_for = None
        run = w.server.schedule()
        first = w.agent()
        first.launcher.local = False
        await w.pass_time(4)
        first.stop.set()
        await w.pass_time(4)
        assert first.over.is_set()
        assert w.server.kind(run) == "RUNNING"
        second = w.agent()
        await w.pass_time(4)
        assert second.agent.active == 1


async def test_draining_puts_a_claimed_run_that_has_not_started_back(tmp_path):
    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent()
        original = agent.launcher.create

        async def create(spec):
            handle = await original(spec)
            agent.stop.set()
            await w.clock.sleep(1)
            return handle

        agent.launcher.create = create
        await w.pass_time(6)
        assert agent.over.is_set()
        assert w.server.kind(run) == "SCHEDULED"
        assert w.host.executions == []
