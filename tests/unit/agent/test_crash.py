"""Whatever moment an agent dies at: each run is executed exactly once, none stays Pending."""

import pytest

from tests.fakes.agents import world

pytestmark = pytest.mark.anyio

STALE_PLUS_30 = 30 + 30
STEPS = [
    {f"kill_{when}": step}
    for step in ("find", "create", "start", "ended", "discard")
    for when in ("before", "after")
    if (when, step) != ("after", "find")
]


async def settle(w, run):
    """Let pass what DESIGN 7.7 allows for a run to stay Pending, and a little for it to end."""
    await w.pass_time(STALE_PLUS_30)
    assert w.server.kind(run) != "PENDING"
    await w.pass_time(30)


async def dies_at_request(folder, number, *, after, second, apart=False):
    """Return whether the first agent died; `second`: one runs beside it, else it is restarted."""
    async with world(folder) as w:
        run = w.server.schedule(due=2.0)
        first = w.agent(kill_at=number, after=after, apart=apart)
        await w.pass_time(1)
        if second:
            w.agent(apart=apart)
        await w.pass_time(7)
        died = first.api.dead
        if died and not second:
            w.agent(apart=apart)
        await settle(w, run)
        assert w.host.executions == [run], (number, after, first.api.requests)
        assert w.server.kind(run) == "COMPLETED", (number, after, first.api.requests)
        assert all(m.error is None for m in w.members)
    return died


@pytest.mark.parametrize("after", [False, True], ids=["request lost", "answer lost"])
@pytest.mark.parametrize("second", [False, True], ids=["restarted", "beside a second"])
async def test_death_at_any_request_leaves_one_execution(tmp_path, second, after):
    number, deaths = 1, 0
    while await dies_at_request(tmp_path / str(number), number, after=after, second=second):
        number, deaths = number + 1, deaths + 1
        if number > 30:
            break
    assert deaths >= 12


@pytest.mark.parametrize("after", [False, True], ids=["request lost", "answer lost"])
async def test_death_is_noticed_by_the_server_alone_too(tmp_path, after):
    """Without locks in common, as in two containers of one pid namespace."""
    for number in range(3, 15):
        folder = tmp_path / str(number)
        await dies_at_request(folder, number, after=after, second=True, apart=True)


@pytest.mark.parametrize("step", STEPS, ids=[str(step) for step in STEPS])
@pytest.mark.parametrize("second", [False, True], ids=["restarted", "beside a second"])
async def test_death_at_any_step_of_the_launcher_leaves_one_execution(tmp_path, step, second):
    async with world(tmp_path) as w:
        run = w.server.schedule(due=2.0)
        first = w.agent(steps=step)
        await w.pass_time(1)
        if second:
            w.agent(limit=1)
        await w.pass_time(6)
        if not second:
            assert first.api.dead
            w.agent()
        await settle(w, run)
        assert w.host.executions == [run]
        assert w.server.kind(run) == "COMPLETED"


async def test_a_recoverer_that_dies_at_any_request_is_recovered_too(tmp_path):
    for number in range(1, 25):
        async with world(tmp_path / str(number)) as w:
            run = w.server.schedule()
            w.agent(steps={"kill_before": "start"})
            await w.pass_time(3)
            second = w.agent(kill_at=number)
            await w.pass_time(5)
            w.agent()
            await settle(w, run)
            assert w.host.executions == [run], (number, second.api.requests)


async def test_two_agents_that_find_one_abandoned_run_launch_it_once(tmp_path):
    async with world(tmp_path) as w:
        runs = [w.server.schedule() for _ in range(5)]
        w.agent(steps={"kill_before": "start"}, limit=5)
        await w.pass_time(2)
        w.agent()
        w.agent()
        w.agent()
        await w.pass_time(90)
        assert sorted(w.host.executions) == sorted(runs)
        assert {w.server.kind(run) for run in runs} == {"COMPLETED"}


async def test_a_claim_of_a_lost_host_is_launched_by_an_agent_elsewhere(tmp_path):
    async with world(tmp_path) as w:
        run = w.server.schedule()
        w.agent(w.new_host("far"), apart=True, steps={"kill_after": "create"})
        await w.pass_time(4)
        w.agent(apart=True)
        await settle(w, run)
        assert w.host.executions == [run]


async def test_a_run_that_may_have_started_on_a_lost_host_is_never_started_again(tmp_path):
    async with world(tmp_path) as w:
        far = w.new_host("far", runs_for=None)
        run = w.server.schedule()
        w.agent(far, apart=True, steps={"kill_after": "start"})
        await w.pass_time(4)
        w.server.force(run, "PENDING", **w.server.states[run][1]["state_details"])
        w.agent(apart=True)
        await settle(w, run)
        assert far.executions == [run]
        assert w.host.executions == []
        assert w.server.kind(run) == "CRASHED"
        assert "far:" in w.server.state(run)["message"]


async def test_a_running_run_of_a_lost_host_crashes_after_lost_after_only(tmp_path):
    async with world(tmp_path) as w:
        far = w.new_host("far", runs_for=None)
        run = w.server.schedule()
        lost = w.agent(far, apart=True)
        await w.pass_time(4)
        lost.kill()
        w.agent(apart=True, lost_after_seconds=600)
        await w.pass_time(500)
        assert w.server.kind(run) == "RUNNING"
        await w.pass_time(250)
        assert w.server.kind(run) == "CRASHED"


async def test_a_running_run_is_watched_again_after_a_restart_and_finished(tmp_path):
    async with world(tmp_path) as w:
        w.host.runs_for = None
        run = w.server.schedule()
        w.agent().launcher  # noqa: B018
        await w.pass_time(4)
        w.members[0].kill()
        second = w.agent()
        await w.pass_time(4)
        assert any("watch it again" in text for text in second.texts())
        w.host.end(w.host.thing_of(run), None, "it was killed")
        await w.pass_time(2)
        assert w.server.kind(run) == "CRASHED"
        assert "it was killed" in w.server.state(run)["message"]
        assert w.host.executions == [run]


async def test_a_run_that_ended_while_no_agent_looked_gets_its_end(tmp_path):
    async with world(tmp_path) as w:
        w.host.runs_for = None
        run = w.server.schedule()
        w.agent()
        await w.pass_time(4)
        w.members[0].kill()
        w.host.end(w.host.thing_of(run), None, "it was killed")
        w.agent()
        await w.pass_time(2)
        assert w.server.kind(run) == "CRASHED"


async def test_a_claimed_run_goes_back_to_its_queue_if_no_slot_is_free(tmp_path):
    async with world(tmp_path) as w:
        w.host.runs_for = None
        busy = w.agent(limit=1)
        first = w.server.schedule()
        await w.pass_time(4)
        second = w.server.schedule()
        w.agent(steps={"kill_after": "create"})
        await w.pass_time(8)
        assert w.server.kind(second) == "SCHEDULED"
        assert any(str(e.what) == "requeued" for e in busy.events)
        assert w.host.executions == [first]


async def test_runs_of_another_program_are_left_alone(tmp_path):
    """A Prefect 2 agent serves the same pool: it claims without a transition id."""
    async with world(tmp_path) as w:
        pending, running = w.server.schedule(), w.server.schedule()
        w.server.force(pending, "PENDING")
        w.server.force(running, "PENDING", transition_id="7a4e3a0a-0000-4000-8000-000000000000")
        w.server.force(running, "RUNNING")
        w.server.runs[running]["infrastructure_pid"] = f"{w.host.name}:1"
        w.agent(lost_after_seconds=1)
        await w.pass_time(200)
        assert w.server.kind(pending) == "PENDING"
        assert w.server.kind(running) == "RUNNING"
        assert w.host.executions == []


async def test_two_agents_share_a_hundred_runs_without_a_double(tmp_path):
    async with world(tmp_path) as w:
        runs = [w.server.schedule() for _ in range(100)]
        first, second = w.agent(limit=10), w.agent(limit=10)
        await w.pass_time(60)
        assert sorted(w.host.executions) == sorted(runs)
        shares = [len(m.launcher.specs) for m in (first, second)]
        assert min(shares) > 10, shares
