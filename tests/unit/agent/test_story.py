"""The story of one flow run, from the claim to its end."""

from datetime import timedelta
from typing import ClassVar

import pytest

from reconciler.agent.code import Checkout
from tests.fakes.agents import world

pytestmark = pytest.mark.anyio


async def test_a_due_run_is_executed_once_and_told_of(tmp_path):
    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent()
        await w.pass_time(5)

        assert w.host.executions == [run]
        assert w.server.kind(run) == "COMPLETED"
        assert [str(e.what) for e in agent.events] == ["ready", "claimed", "started", "ended"]
        assert "completed after 1.0 s" in agent.texts()[-1]
        assert w.host.things == {}, "nothing is left behind"


async def test_a_run_is_never_claimed_before_it_is_due_by_the_servers_clock(tmp_path):
    async with world(tmp_path) as w:
        run = w.server.schedule(due=9.0)
        claimed = []
        agent = w.agent(prefetch_seconds=60)
        agent.api.before_request = lambda method, path: (
            claimed.append(w.clock.now()) if path.endswith("set_state") else None
        )
        start = w.clock.now()
        await w.pass_time(8.5)
        assert claimed == []
        await w.pass_time(2)
        assert timedelta(seconds=9) <= claimed[0] - start <= timedelta(seconds=9.5)
        assert w.host.executions == [run]


async def test_the_state_message_names_the_agent_and_the_commit(tmp_path):
    class Code:
        used: ClassVar[list] = []

        async def checkout(self):
            return Checkout(tmp_path / "tree", "0123abc")

        def in_use(self, paths):
            self.used.append(paths)

    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent(code=Code())
        await w.pass_time(5)
        pending = next(s for s in w.server.states[run] if s["type"] == "PENDING")
        assert "agent0" in pending["message"]
        assert "0123abc" in pending["message"]
        assert agent.launcher.specs[0].env["PREFECT__STORAGE_BASE_PATH"] == str(tmp_path / "tree")
        assert Code.used[0] == {tmp_path / "tree"}
        assert Code.used[-1] == frozenset()


async def test_another_agents_claim_is_left_alone(tmp_path):
    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent()
        agent.api.before_request = lambda method, path: (
            w.server.force(run, "PENDING", transition_id="7a4e3a0a-0000-4000-8000-000000000000")
            if path.endswith("set_state") and w.server.kind(run) == "SCHEDULED"
            else None
        )
        await w.pass_time(60)
        assert w.host.executions == []
        assert w.server.kind(run) == "PENDING"
        assert agent.agent.active == 0


async def test_a_wait_for_a_concurrency_slot_gives_the_agents_slot_back(tmp_path):
    async with world(tmp_path) as w:
        w.server.full = True
        waiting = w.server.schedule()
        agent = w.agent(limit=1)
        await w.pass_time(4)
        assert w.server.state(waiting)["name"] == "AwaitingConcurrencySlot"
        assert agent.agent.active == 0
        w.server.full = False
        other = w.server.schedule()
        await w.pass_time(6)
        assert w.host.executions == [other]


async def test_no_more_runs_than_slots_are_at_work_and_a_free_slot_is_used_at_once(tmp_path):
    async with world(tmp_path) as w:
        runs = [w.server.schedule() for _ in range(5)]
        agent = w.agent(limit=2, poll_seconds=30)
        most = 0
        for _ in range(24):
            await w.pass_time(0.5)
            most = max(most, agent.agent.active)
        assert most == 2
        assert sorted(w.host.executions) == sorted(runs)


async def test_it_looks_often_after_work_and_seldom_when_idle(tmp_path):
    async with world(tmp_path) as w:
        agent = w.agent(poll_seconds=8)
        looks = []
        agent.api.before_request = lambda method, path: (
            looks.append(w.clock.now()) if "get_scheduled_flow_runs" in path else None
        )

        async def looked_at_in(seconds):
            looks.clear()
            for _ in range(int(seconds * 4)):
                await w.pass_time(0.25)
            return len(looks)

        await looked_at_in(60)
        idle = await looked_at_in(60)
        assert 60 / (8 * 1.3) - 1 <= idle <= 60 / (8 * 0.7) + 1
        w.server.schedule()
        await looked_at_in(12)
        assert await looked_at_in(1) <= 2
        w.server.schedule()
        while not w.host.executions[1:]:
            await w.pass_time(0.25)
        assert await looked_at_in(4) >= 3


async def test_while_the_server_refuses_writes_it_looks_no_more_often_than_prefects_own(tmp_path):
    async with world(tmp_path) as w:
        agent = w.agent(poll_seconds=1)
        looks = []
        agent.api.before_request = lambda method, path: (
            looks.append(path) if "get_scheduled_flow_runs" in path else None
        )
        for strained, most in ((True, 7), (False, 60)):
            agent.api.strained = strained
            await w.pass_time(2)
            looks.clear()
            for _ in range(120):
                await w.pass_time(0.5)
            assert most / 2 < len(looks) <= most * 1.5


async def test_a_late_claim_on_a_run_that_another_finished_gives_it_its_end_back(tmp_path):
    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent()

        def others_are_faster(method, path):
            if path.endswith("set_state") and w.server.kind(run) == "SCHEDULED":
                w.server.force(run, "RUNNING")
                w.server.force(run, "COMPLETED")

        agent.api.before_request = others_are_faster
        await w.pass_time(10)
        assert w.host.executions == []
        assert w.server.kind(run) == "COMPLETED"


async def test_nothing_starts_without_a_fresh_heartbeat_and_the_leader_takes_over(tmp_path):
    """The API goes silent between the claim and the start for longer than the stale limit."""
    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent()
        worker = agent.presence.worker
        original = agent.launcher.create

        async def slow(spec):
            agent.launcher.create = original
            handle = await original(spec)
            w.server.down = True
            await w.clock.sleep(40)
            w.server.down = False
            return handle

        agent.launcher.create = slow
        await w.pass_time(36)
        assert w.host.executions == []
        await w.pass_time(45)
        assert agent.presence.worker != worker, "it comes back under another name"
        assert w.host.executions == [run]
        assert w.server.kind(run) == "COMPLETED"


@pytest.mark.parametrize(
    ("exit_code", "final", "state"),
    [
        (3, None, "CRASHED"),
        (0, None, "CRASHED"),
        (-9, None, "CRASHED"),
        (1, "FAILED", "FAILED"),
        (0, "PAUSED", "PAUSED"),
        (0, "SCHEDULED", "SCHEDULED"),
    ],
)
async def test_only_pending_and_running_are_ended_by_the_end_of_the_infrastructure(
    tmp_path, exit_code, final, state
):
    async with world(tmp_path) as w:
        w.host.exit_code, w.host.final = exit_code, final
        run = w.server.schedule()
        agent = w.agent()
        await w.pass_time(3.5)
        assert w.server.kind(run) == state
        if state == "CRASHED":
            assert "it ended" in w.server.state(run)["message"]
            assert "last line" in w.server.state(run)["message"]
        assert agent.agent.active == 0 or state == "SCHEDULED"


async def test_odd_output_does_not_keep_a_run_from_its_end(tmp_path):
    """PostgreSQL refuses U+0000, and so the state; nobody reads a line of a megabyte."""
    async with world(tmp_path) as w:
        w.host.final, w.host.exit_code = None, 1
        w.host.last_lines = ("a\x00b\x1b[2Jc\tü", "x" * 100_000)
        run = w.server.schedule()
        w.agent()
        await w.pass_time(5)
        assert w.server.kind(run) == "CRASHED"
        message = w.server.states[run][-1]["message"]
        assert "a\ufffdb\ufffd[2Jc\tü" in message
        assert len(message) < 1000


async def test_infrastructure_that_can_not_be_built_fails_the_run_with_the_reason(tmp_path):
    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent()
        agent.launcher.refuse = "there is no such image"
        await w.pass_time(5)
        assert w.server.kind(run) == "FAILED"
        assert "there is no such image" in w.server.state(run)["message"]
        assert w.host.executions == []


@pytest.mark.parametrize("what", [{"lose": 1}, {"away": 1}, {"away": 2, "lose": 1}], ids=str)
async def test_a_start_whose_answer_is_lost_is_neither_undone_nor_repeated(tmp_path, what):
    """The flow may be running: who removed it and started again would execute it twice."""
    async with world(tmp_path) as w:
        w.host.runs_for = 20.0
        run = w.server.schedule()
        launcher = w.agent().launcher
        for name, times in what.items():
            setattr(launcher, name, times)
        await w.pass_time(5)
        assert w.host.executions == [run]
        assert w.host.stopped == []
        await w.pass_time(60)
        assert w.host.executions == [run]
        assert w.server.kind(run) == "COMPLETED"
        assert w.host.things == {}


async def test_a_run_deleted_before_its_start_is_not_started(tmp_path):
    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent()

        def delete(method, path):
            if method == "PATCH":
                w.server.runs.pop(run, None)
                w.server.states[run] = []

        agent.api.before_request = delete
        await w.pass_time(10)
        assert w.host.executions == []
        assert agent.agent.active == 0


async def test_an_outage_in_the_middle_of_a_launch_delays_it_only(tmp_path):
    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent(poll_seconds=1)
        agent.api.before_request = lambda method, path: (
            setattr(w.server, "down", True) if method == "PATCH" else None
        )
        await w.pass_time(5)
        assert w.server.kind(run) == "PENDING"
        agent.api.before_request = lambda method, path: None
        w.server.down = False
        await w.pass_time(60)
        assert w.host.executions == [run]
        assert w.server.kind(run) == "COMPLETED"
        assert any("next survey" in text for text in agent.texts())


async def test_run_once_takes_the_due_runs_waits_for_them_and_returns(tmp_path):
    async with world(tmp_path) as w:
        due = [w.server.schedule() for _ in range(3)]
        w.server.schedule(due=100)
        agent = w.agent(run_once=True)
        await w.pass_time(6)
        assert agent.over.is_set()
        assert sorted(w.host.executions) == sorted(due)
        assert w.server.workers == {}, "it said good-bye"


async def test_run_once_takes_runs_that_were_made_just_now_by_a_clock_that_may_lag(tmp_path):
    async with world(tmp_path) as w:
        # The server's clock as we know it can be two seconds behind the server's own.
        due = [w.server.schedule(), w.server.schedule(due=0.4), w.server.schedule(due=1.9)]
        w.server.schedule(due=3)
        agent = w.agent(run_once=True)
        await w.pass_time(8)
        assert agent.over.is_set()
        assert sorted(w.host.executions) == sorted(due)


async def test_run_once_with_a_limit_takes_no_second_helping(tmp_path):
    async with world(tmp_path) as w:
        due = [w.server.schedule() for _ in range(3)]
        agent = w.agent(run_once=True, limit=2)
        await w.pass_time(8)
        assert agent.over.is_set()
        assert len(w.host.executions) == 2
        assert {w.server.kind(run) for run in due} == {"COMPLETED", "SCHEDULED"}


async def test_an_agent_for_certain_runs_leaves_all_others_alone(tmp_path):
    async with world(tmp_path) as w:
        w.server.schedule()
        claimed = w.server.schedule()
        w.server.force(claimed, "PENDING", transition_id="7a4e3a0a-0000-4000-8000-000000000000")
        mine = w.server.schedule()
        agent = w.agent(only=lambda: {mine}, limit=1)
        await w.pass_time(120)
        assert w.host.executions == [mine]
        assert w.server.kind(claimed) == "PENDING"
        assert agent.agent.active == 0
