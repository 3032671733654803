"""A schedule that may fire soon is told as such, whatever its time zone and the clock do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.model.firing import may_fire

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SPAN = timedelta(minutes=3)


@pytest.mark.parametrize(
    ("schedule", "soon"),
    [
        ({"cron": "2 12 * * *"}, True),
        ({"cron": "0 3 * * *"}, False),
        ({"cron": "0 3 * * *", "active": False}, False),
        ({"cron": "2 12 * * *", "active": False}, False),
        ({"cron": "2 13 * * *", "timezone": "Europe/London"}, True),
        ({"cron": "* * * * *"}, True),
        ({"cron": "0 3 1 1 1", "day_or": False}, False),
        ({"cron": "2 12 15 * 1"}, True),  # it is a Monday
        ({"cron": "2 12 15 * 1", "day_or": False}, False),
        ({"cron": "2 13 * * *"}, True),  # an hour more, for the clock may change
        ({"cron": "4 13 * * *"}, False),
        ({"cron": "0 0 30 2 *"}, True),
        ({"cron": "0 3 * * *", "timezone": "Mars/Olympus"}, True),
        ({"interval": 86400.0}, True),
        ({"rrule": "FREQ=YEARLY"}, True),
    ],
)
def test_soon_is_what_may_fire_within_the_span_or_what_only_the_server_knows(schedule, soon):
    assert may_fire(schedule, NOON, SPAN) is soon


CHANGES = [  # of the clock, in the zones below
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 3, 8, 5, 30, tzinfo=UTC),
    datetime(2026, 11, 1, 4, 30, tzinfo=UTC),
]


@example(CHANGES[0], 1, timedelta(minutes=2), "Europe/Berlin")
@example(CHANGES[1], 1, timedelta(minutes=2), "Europe/Berlin")
@given(
    near=st.sampled_from([NOON, *CHANGES]),
    minutes=st.integers(-300, 300),
    before=st.timedeltas(timedelta(0), SPAN),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kolkata"]),
)
def test_no_moment_within_the_span_is_overlooked_though_the_clock_changes(
    near, minutes, before, zone
):
    due = near + timedelta(minutes=minutes)
    wall = due.astimezone(ZoneInfo(zone))
    schedule = {"cron": f"{wall.minute} {wall.hour} * * *", "timezone": zone}
    assert may_fire(schedule, due - before, SPAN)
