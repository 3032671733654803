"""The door to croniter: imported when the first cron is looked at, since its import starts a process.

(It has `platform.architecture` ask `file` about the interpreter; croniter 7.0.0: read.)
"""

from datetime import UTC, datetime
from functools import cache, lru_cache
from types import ModuleType

_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)


# Thousands of deployments share a few schedules, and each is worth half a millisecond.
@lru_cache(4096)
def is_cron(text: str) -> bool:
    """Tell whether a text is a cron expression."""
    valid: bool = _library().croniter.is_valid(text)
    return valid


@lru_cache(4096)
def fires(cron: str, day_or: bool) -> bool:  # noqa: FBT001 - Prefect's name for it
    """Tell whether the moment of a valid cron ever comes."""
    try:
        following(cron, _SOME_DAY, day_or=day_or)
    except _library().CroniterBadDateError:
        return False
    return True


def following(cron: str, after: datetime, *, day_or: bool) -> datetime:
    """Return when a cron fires next.

    Raises:
        ValueError, KeyError: croniter knows no such cron, or it never fires.
    """
    found: datetime = _library().croniter(cron, after, day_or=day_or).get_next(datetime)
    return found


@cache
def _library() -> ModuleType:
    import croniter  # noqa: PLC0415 - see above

    return croniter
