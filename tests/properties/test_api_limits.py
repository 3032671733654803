"""Rules of the adaptive limit and of Retry-After that hold whatever a server does."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.limits import Aimd
from reconciler.api.retry import retry_after

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.floats(1, 32), st.lists(st.tuples(st.booleans(), st.integers(1, 40))))
def test_the_limit_stays_between_its_bounds(start, events):
    aimd = Aimd(limit=start)
    for good, number in events:
        before = aimd.limit
        if good:
            aimd.succeeded(running=number)
            assert before <= aimd.limit <= before + 1
        else:
            aimd.overloaded(aimd.epoch - number % 2)
            assert aimd.limit in (before, max(1.0, before / 2))
        assert 1 <= aimd.allowed <= 32


@given(st.floats(1, 32))
def test_a_server_that_bears_everything_is_used_to_the_full(start):
    aimd = Aimd(limit=start)
    for _ in range(1000):
        aimd.succeeded(running=aimd.allowed)
    assert aimd.allowed == 32


@given(st.integers(1, 20), st.integers(100, 400))
def test_what_a_server_bears_is_found_and_seldom_exceeded(bears, memory):
    aimd = Aimd(limit=1, growth=1 / 8, memory=memory)
    rounds, vain = 5000, 0
    for number in range(rounds):
        if aimd.allowed > bears:
            vain += 1
            aimd.overloaded(aimd.epoch)
        else:
            aimd.succeeded(running=aimd.allowed)
        assert number < rounds - memory or aimd.allowed >= max(1, bears // 2)
    assert vain <= rounds / memory + 1


@given(st.text())
def test_any_header_is_read_without_an_error(text):
    seconds = retry_after(text, NOW)
    assert seconds is None or 0 <= seconds < float("inf")


@given(st.integers(0, 10**6))
def test_seconds_and_dates_mean_the_same(seconds):
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after(str(seconds), NOW) == retry_after(date, NOW) == seconds


@given(st.integers(0, 10**6))
def test_a_moment_that_has_passed_means_at_once(seconds):
    date = format_datetime(NOW - timedelta(seconds=seconds), usegmt=True)
    assert retry_after(date, NOW) == 0
