from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from reconciler.api.server_clock import ServerClock
from tests.fakes.clock import VirtualClock


class Truth:
    """A server's true clock, `ahead` of ours, that renews its `Date` header once a second."""

    def __init__(self, clock, ahead=0.0, phase=0.0):
        self.clock, self.ahead, self.phase = clock, ahead, phase

    def now(self):
        return self.clock.now() + timedelta(seconds=self.ahead)

    def header(self):
        renewed = self.now().timestamp() // 1 + self.phase
        if renewed > self.now().timestamp():
            renewed -= 1
        return format_datetime(datetime.fromtimestamp(int(renewed), UTC), usegmt=True)


def ask(clock, truth, server_clock, there=0.05, back=0.05):
    sent = clock.monotonic()
    clock.advance(there)
    header = truth.header()
    clock.advance(back)
    server_clock.learn(header, sent)


def test_before_the_first_answer_it_is_our_own_clock():
    clock = VirtualClock()
    assert ServerClock(clock).now() == clock.now()


def test_it_is_never_ahead_and_at_most_two_seconds_behind():
    for phase in (0.0, 0.3, 0.99):
        for ahead in (-500.25, 0.0, 3.7, 12345.678):
            clock = VirtualClock()
            truth, server_clock = Truth(clock, ahead, phase), ServerClock(clock)
            for _ in range(50):
                ask(clock, truth, server_clock)
                behind = (truth.now() - server_clock.now()).total_seconds()
                assert -1e-6 <= behind < 2.2
                clock.advance(0.37)


def test_many_answers_bring_it_closer():
    clock = VirtualClock()
    truth, server_clock = Truth(clock, ahead=100.5), ServerClock(clock)
    for _ in range(200):
        ask(clock, truth, server_clock, 0.001, 0.001)
        clock.advance(0.0137)
    assert (truth.now() - server_clock.now()).total_seconds() < 0.05


def test_it_runs_on_between_answers():
    clock = VirtualClock()
    server_clock = ServerClock(clock)
    ask(clock, Truth(clock), server_clock)
    before = server_clock.now()
    clock.advance(60)
    assert server_clock.now() - before == timedelta(seconds=60)


def test_a_clock_that_was_set_is_followed_at_once():
    clock = VirtualClock()
    truth, server_clock = Truth(clock), ServerClock(clock)
    ask(clock, truth, server_clock)
    for step in (-3600, 7200):
        truth.ahead += step
        ask(clock, truth, server_clock)
        assert 0 <= (truth.now() - server_clock.now()).total_seconds() < 2.2


def test_a_missing_or_broken_header_is_passed_over():
    clock = VirtualClock()
    server_clock = ServerClock(clock)
    server_clock.learn(None, clock.monotonic())
    server_clock.learn("yesterday", clock.monotonic())
    assert server_clock.now() == clock.now()
