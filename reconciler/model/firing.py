"""Whether a schedule may fire soon, as far as that can be told without the server."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from reconciler.model.crons import following
from reconciler.model.schedules import Schedule

_CLOCK_CHANGE = timedelta(hours=1)


def may_fire(schedule: Schedule, now: datetime, within: timedelta) -> bool:
    """Tell whether a schedule may fire within a span; also True where only the server knows.

    Told is what is plain: of crons, and an hour too much at both ends, since servers read moments
    around a change of the clock in their own way.

    Args:
        schedule: in its normal form.
        now: with a time zone.
        within: the span from then on.
    """
    cron, zone = schedule.get("cron"), schedule.get("timezone") or "UTC"
    if not schedule.get("active", True):
        return False
    if not isinstance(cron, str) or not isinstance(zone, str):
        return True
    try:
        wall = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        day_or = bool(schedule.get("day_or", True))
        first = following(cron, wall - _CLOCK_CHANGE, day_or=day_or)
    except (ValueError, KeyError):  # no cron that croniter knows; no zone of this machine
        return True
    return first <= wall + within + _CLOCK_CHANGE
