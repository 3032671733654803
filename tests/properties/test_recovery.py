"""What may be done about an abandoned run, whatever one agent happens to see of it."""

from hypothesis import given
from hypothesis import strategies as st

from reconciler.agent.presence import Claimant
from reconciler.agent.recover import Recovery, Sight, decide
from reconciler.model.launch import Found, Handle

HANDLE = Handle("token", "run", "host:1")
sights = st.builds(
    Sight,
    running=st.booleans(),
    claimant=st.sampled_from(Claimant),
    handled=st.booleans(),
    bound=st.booleans(),
    here=st.booleans(),
    found=st.none() | st.builds(Found, st.just(HANDLE), st.booleans(), st.booleans()),
    leader=st.booleans(),
    host_leader=st.booleans(),
    host_lives=st.booleans(),
    overdue=st.booleans(),
)


@given(sights)
def test_only_what_was_never_started_is_launched_and_by_one_agent(sight):
    if decide(sight) is Recovery.LAUNCH:
        assert not sight.running
        assert sight.found is None or not sight.found.started
        assert sight.here or not sight.handled
        assert sight.leader or sight.host_leader or sight.claimant is Claimant.ME


@given(sights)
def test_runs_of_the_living_and_of_strangers_are_left_alone(sight):
    if sight.claimant in {Claimant.ALIVE, Claimant.STRANGER}:
        assert decide(sight) is Recovery.LEAVE


@given(sights)
def test_infrastructure_that_is_known_here_is_watched_and_never_given_up(sight):
    if sight.found is not None and sight.found.started and (sight.here or not sight.handled):
        assert decide(sight) in {Recovery.ATTACH, Recovery.LEAVE}


@given(sights)
def test_a_run_on_a_host_with_a_living_agent_is_that_agents_matter(sight):
    if sight.handled and not sight.here and sight.host_lives:
        assert decide(sight) is Recovery.LEAVE


@given(sights)
def test_some_leader_always_does_something_about_a_pending_run_of_one_that_is_gone(sight):
    pending = not sight.running and sight.claimant is Claimant.GONE
    leads = sight.leader and sight.host_leader
    if pending and leads and not (sight.handled and not sight.here and sight.host_lives):
        assert decide(sight) is not Recovery.LEAVE
