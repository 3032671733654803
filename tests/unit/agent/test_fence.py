"""Directly before a start: is the run still ours, and are we still known to be alive?"""

import pytest

from tests.fakes.agents import world

pytestmark = pytest.mark.anyio


def between_record_and_start(agent, act):
    """Call something once, after the handle was recorded and before the run starts."""
    done = []

    def hook(method, path):
        if (method, path[:11]) == ("GET", "/flow_runs/") and not done:
            done.append(True)
            act()

    agent.api.before_request = hook


@pytest.mark.parametrize("state", ["CANCELLING", "CRASHED", "COMPLETED", "SCHEDULED"])
async def test_a_run_that_left_our_claim_is_not_started(tmp_path, state):
    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent()
        later = (w.clock.now().replace(year=2027)).isoformat()
        between_record_and_start(agent, lambda: w.server.force(run, state, scheduled_time=later))
        await w.pass_time(60)
        assert w.host.executions == []
        assert w.server.kind(run) == ("CANCELLED" if state == "CANCELLING" else state)


async def test_a_run_claimed_anew_by_another_is_not_started_by_us(tmp_path):
    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent()
        other = "7a4e3a0a-0000-4000-8000-000000000000"
        between_record_and_start(agent, lambda: w.server.force(run, "PENDING", transition_id=other))
        await w.pass_time(60)
        assert w.host.executions == []


async def test_a_heartbeat_acknowledged_too_late_does_not_allow_a_start(tmp_path):
    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent()
        slow = []
        real = agent.api.post

        async def post(path, body=None, **more):
            answer = await real(path, body, **more)
            if path.endswith("heartbeat") and slow:
                await w.clock.sleep(slow.pop())
            return answer

        original = agent.launcher.create

        async def create(spec):
            handle = await original(spec)
            slow.extend([18.0] * 3)
            await w.clock.sleep(26.0)
            starts.append(w.clock.monotonic() - agent.presence._sent)
            return handle

        starts = []
        agent.api.post = post
        agent.launcher.create = create
        began = []
        start = agent.launcher.start

        async def begin(handle):
            began.append(w.clock.monotonic() - agent.presence._sent)
            await start(handle)

        agent.launcher.start = begin
        await w.pass_time(200)
        assert all(age < 15 for age in began), began
        assert w.host.executions.count(run) <= 1


async def test_a_claim_under_a_name_given_up_is_not_started_under_the_new_one(tmp_path):
    async with world(tmp_path) as w:
        w.server.schedule()
        agent = w.agent()
        before = []
        original, start = agent.launcher.create, agent.launcher.start

        async def create(spec):
            agent.launcher.create = original
            handle = await original(spec)
            agent.presence._sent -= 60  # as if the machine had slept
            await agent.presence.beat()
            return handle

        async def begin(handle):
            before.append(w.clock.monotonic())
            await start(handle)

        agent.launcher.create, agent.launcher.start = create, begin
        began = w.clock.monotonic()
        await w.pass_time(90)
        assert len(before) == 1
        assert before[0] - began > 30, "only once the server had called the old name OFFLINE"


async def test_a_run_that_ended_after_the_listing_is_not_taken_for_a_stray(tmp_path):
    """Its end comes between the survey's listing and its look at the run."""
    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent(poll_seconds=1)
        listed = w.server.listed

        def listing(body):
            found = listed(body)
            stale = [dict(one, infrastructure_pid=None) for one in seen.get("pending", [])]
            return found or stale

        seen = {}

        def remember(method, path):
            if path == "/flow_run_states/":
                seen["pending"] = [w.server.view(run)]

        agent.api.before_request = remember
        w.server.listed = listing
        await w.pass_time(40)
        assert w.host.executions == [run]
        assert w.server.kind(run) == "COMPLETED"


async def test_a_late_claim_is_known_by_what_it_replaced_even_if_its_proposal_was_earlier(tmp_path):
    """A busy server accepts in another order than proposals arrive, and keeps their arrival times."""
    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent()

        def others_are_faster(method, path):
            if path.endswith("set_state") and w.server.kind(run) == "SCHEDULED":
                w.server.force(run, "PENDING", transition_id="7a4e3a0a-0000-4000-8000-00000000000a")
                w.server.force(run, "COMPLETED")
                for state in w.server.states[run][1:]:
                    state["timestamp"] = "2026-01-01T01:00:00+00:00"

        agent.api.before_request = others_are_faster
        await w.pass_time(20)
        assert w.host.executions == []
        assert w.server.kind(run) == "COMPLETED"


@pytest.mark.parametrize("theirs", ["PENDING", "RUNNING"])
async def test_a_claim_accepted_over_another_gives_it_back(tmp_path, theirs):
    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent()
        other = "7a4e3a0a-0000-4000-8000-00000000000a"
        w.server._refusal = lambda now, new: None  # as if two claims were judged side by side
        agent.api.before_request = lambda method, path: (
            w.server.force(run, theirs, transition_id=other)
            if path.endswith("set_state") and w.server.kind(run) == "SCHEDULED"
            else None
        )
        await w.pass_time(20)
        assert w.host.executions == []
        assert w.server.kind(run) == theirs
        assert w.server.state(run)["state_details"]["transition_id"] == other


async def test_two_claims_that_the_server_both_accepted_end_in_one_execution(tmp_path):
    """A server whose proposals overlap lets the second claim replace the first (Prefect #8880)."""
    async with world(tmp_path) as w:
        run = w.server.schedule()
        refusal, over = w.server._refusal, []

        def overlapping(now, new):
            if (now, new) == ("PENDING", "PENDING") and not over:
                over.append(True)
                return None
            return refusal(now, new)

        w.server._refusal = overlapping
        w.agent()
        w.agent()
        await w.pass_time(120)
        assert over, "no claim came over another one"
        assert w.host.executions == [run]
        assert w.server.kind(run) == "COMPLETED"


async def test_a_claim_that_was_accepted_twice_over_anothers_is_given_back(tmp_path):
    """A repeated request stands in the history twice, too; that is no sign that a rival withdrew."""
    async with world(tmp_path) as w:
        run = w.server.schedule()
        agent = w.agent()
        other = "7a4e3a0a-0000-4000-8000-00000000000a"
        ours = []

        def over_another(method, path):
            if path.endswith("set_state") and w.server.kind(run) == "SCHEDULED":
                w.server._refusal = lambda now, new: None
                w.server.force(run, "PENDING", transition_id=other)
            if path == "/flow_run_states/" and not ours:
                ours.append(w.server.state(run)["state_details"]["transition_id"])
                w.server.force(run, "PENDING", transition_id=ours[0])

        agent.api.before_request = over_another
        await w.pass_time(20)
        assert ours
        assert ours[0] != other
        assert w.host.executions == []
        assert w.server.state(run)["state_details"]["transition_id"] == other
