"""A schedule that may fire soon is told as such, whatever its time zone and the clock do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given
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
        ({"cron": "2 12 * * 1", "day_or": True}, True),
        ({"cron": "0 0 30 2 *"}, True),
        ({"cron": "0 3 * * *", "timezone": "Mars/Olympus"}, True),
        ({"interval": 86400.0}, True),
        ({"rrule": "FREQ=YEARLY"}, True),
    ],
)
def test_soon_is_what_may_fire_within_the_span_or_what_only_the_server_knows(schedule, soon):
    assert may_fire(schedule, NOON, SPAN) is soon


@given(
    moment=st.datetimes(min_value=NOON.replace(tzinfo=None), timezones=st.just(UTC)),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kolkata"]),
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
)
def test_no_moment_within_the_span_is_overlooked(moment, zone, minute, hour):
    cron = f"{minute} {hour} * * *"
    due = croniter(cron, moment.astimezone(ZoneInfo(zone))).get_next(datetime)
    if due - moment <= SPAN:
        assert may_fire({"cron": cron, "timezone": zone}, moment, SPAN)
