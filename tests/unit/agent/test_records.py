"""Records of flow runs: each event adds what it knows, and forgets nothing."""

from datetime import UTC, datetime, timedelta

from reconciler.agent.observer import AgentEvent, Happening
from reconciler.agent.records import grown

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def story(*events):
    record = None
    for seconds, (what, more) in enumerate(events):
        event = AgentEvent(what, what.value, "run-1", "bold-owl", **more)
        record = grown(record, event, T0 + timedelta(seconds=seconds))
    return record


def test_a_run_from_claim_to_end_keeps_what_was_learned_on_the_way():
    record = story(
        (Happening.CLAIMED, {}),
        (Happening.STARTED, {"infrastructure": "process", "pid": "host:1", "seconds": 0.2}),
        (Happening.ENDED, {"state": "CRASHED", "seconds": 3.0}),
    )
    assert (record.state, record.text) == ("crashed", "ended")
    assert (record.infrastructure, record.pid) == ("process", "host:1")
    assert (record.since, record.ended) == (T0, T0 + timedelta(seconds=2))


def test_a_problem_changes_the_words_and_not_the_state():
    record = story((Happening.CLAIMED, {}), (Happening.STARTED, {}), (Happening.PROBLEM, {}))
    assert (record.state, record.text, record.ended) == ("running", "problem", None)
    assert story((Happening.PROBLEM, {})).state == "claimed"


def test_a_run_that_is_taken_on_again_begins_anew():
    record = story((Happening.CLAIMED, {}), (Happening.ENDED, {}), (Happening.CLAIMED, {}))
    assert record.since == T0 + timedelta(seconds=2)
    assert record.ended is None
    assert story((Happening.ENDED, {})).state == "deleted"


def test_what_is_about_the_agent_makes_no_record():
    assert grown(None, AgentEvent(Happening.READY, "ready"), T0) is None
