"""Reading the `schedules` of a manifest: flat items or Prefect's nested ones, every problem at once."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from dateutil.rrule import rrulestr
from pydantic import TypeAdapter, ValidationError

from reconciler.model.crons import fires, is_cron
from reconciler.model.findings import Findings, Path
from reconciler.model.near import did_you_mean
from reconciler.model.schedules import TIMING_KEYS, TIMINGS, Schedule, normal, ordered, to_utc

_OWN_KEYS = {
    "cron": ("cron", "day_or", "timezone"),
    "interval": ("interval", "anchor_date", "timezone"),
    "rrule": ("rrule", "timezone"),
}
_FOREIGN = {"cron": ("anchor_date",), "interval": ("day_or",), "rrule": ("anchor_date", "day_or")}
_ENVELOPE_KEYS = ("active", "slug", "parameters")
# Accepted by the API, then dropped when it comes with a deployment (Prefect 2.20.26, 3.8.8: tried).
_DROPPED_KEYS = ("max_scheduled_runs", "max_active_runs", "catchup", "replaces")
_LONGEST_RRULE = 6500  # Prefect's own limit
# Beyond the year 9999 the servers' scheduler fails, for all deployments (Prefect 3.8.8: tried).
_LONGEST_INTERVAL = timedelta(days=365_000).total_seconds()
_DURATION: TypeAdapter[timedelta] = TypeAdapter(timedelta)


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())


def read_schedules(value: object, path: Path, findings: Findings) -> list[Schedule]:
    """Read a `schedules` list as people write it: flat items, or Prefect's nested ones.

    Args:
        value: what stands in the document.
        path: where it stands.
        findings: takes every problem.

    Returns:
        The schedules without problems, in normal form, in the order of `ordered`.
    """
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        findings.error(path, "schedules must be a list", "start each schedule with a dash")
        return []
    read = [read_schedule(item, (*path, index), findings) for index, item in enumerate(value)]
    _check_slugs(value, path, findings)
    return ordered(item for item in read if item)


def _check_slugs(items: Sequence[object], path: Path, findings: Findings) -> None:
    seen: set[str] = set()
    for index, item in enumerate(items):
        slug = item.get("slug") if isinstance(item, Mapping) else None
        if isinstance(slug, str):
            if slug in seen:
                findings.error((*path, index, "slug"), f"two schedules have the slug {slug!r}")
            seen.add(slug)


def read_schedule(item: object, path: Path, findings: Findings) -> dict[str, Any]:
    """Read one schedule; an empty mapping if it has no timing to speak of."""
    if not isinstance(item, Mapping):
        findings.error(path, "a schedule must be a mapping", 'for example {cron: "0 3 * * *"}')
        return {}
    nested = item.get("schedule")
    if nested is None:
        return _read_flat(item, item, path, path, findings)
    both = [key for key in TIMING_KEYS if key in item]
    if both:
        message = f"both a nested schedule and {both[0]} in one item"
        findings.error((*path, both[0]), message, "write it flat or nested, not both")
        return {}
    if not isinstance(nested, Mapping):
        findings.error((*path, "schedule"), "a nested schedule must be a mapping")
        return {}
    return _read_flat(nested, item, (*path, "schedule"), path, findings)


def _read_flat(
    timing: Schedule, envelope: Schedule, timing_path: Path, path: Path, findings: Findings
) -> dict[str, Any]:
    kinds = [key for key in TIMINGS if timing.get(key) is not None]
    if len(kinds) != 1:
        message = "a schedule needs exactly one of cron, interval and rrule"
        findings.error((*timing_path, kinds[1]) if kinds else timing_path, message)
    _check_keys(timing, envelope, timing_path, path, findings)
    if len(kinds) != 1:
        return {}
    own = {key: timing[key] for key in _OWN_KEYS[kinds[0]] if timing.get(key) is not None}
    result = {
        key: _READERS[key](value, (*timing_path, key), findings) for key, value in own.items()
    }
    _check_fires(result, (*timing_path, "cron"), findings)
    for key in _ENVELOPE_KEYS:
        if envelope.get(key) is not None:
            result[key] = _READERS[key](envelope[key], (*path, key), findings)
    return normal(result)


def _check_keys(
    timing: Schedule, envelope: Schedule, timing_path: Path, path: Path, findings: Findings
) -> None:
    kind = next((key for key in TIMINGS if timing.get(key) is not None), None)
    allowed = {*TIMING_KEYS, *_ENVELOPE_KEYS, *_DROPPED_KEYS, "schedule"}
    for key, value in {**envelope, **timing}.items():
        place = (*timing_path, key) if key in timing else (*path, key)
        if key not in allowed:
            hint = did_you_mean(str(key), (*TIMING_KEYS, *_ENVELOPE_KEYS))
            findings.error(place, f"unknown key {key!r} in a schedule", hint)
        elif key in _DROPPED_KEYS and value:
            message = f"{key} has no effect: Prefect drops it when a deployment is written"
            findings.error(place, message, "remove it")
        elif kind and key in _FOREIGN[kind] and value is not None:
            findings.error(place, f"{key} does not go with {kind}", "remove it")


def _cron(value: object, path: Path, findings: Findings) -> object:
    if not isinstance(value, str) or not is_cron(value):
        findings.error(path, "not a cron expression", 'for example "0 3 * * *" or "@daily"')
    elif any(part.casefold() in ("r", "h") for part in value.split()):
        findings.error(path, "Prefect knows no random (R) or hashed (H) cron fields")
    return value


def _check_fires(schedule: Schedule, path: Path, findings: Findings) -> None:
    """Refuse a cron moment that never comes: servers answer it with 500 (2.20.26, 3.8.8: tried)."""
    cron, day_or = schedule.get("cron"), schedule.get("day_or", True)
    if isinstance(cron, str) and is_cron(cron) and not fires(cron, bool(day_or)):
        findings.error(path, "this moment never comes", "look at the day and the month")


def _interval(value: object, path: Path, findings: Findings) -> object:
    example = "for example 3600 or PT1H"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        findings.error(path, "not an interval: seconds, or an ISO 8601 duration", example)
        return value
    try:
        seconds = _DURATION.validate_python(value).total_seconds()
    except ValidationError:
        findings.error(path, "not an interval: seconds, or an ISO 8601 duration", example)
        return value
    if seconds <= 0:
        findings.error(path, "an interval must be longer than nothing", example)
    elif seconds > _LONGEST_INTERVAL:
        findings.error(path, "an interval must be shorter than 1,000 years", example)
    return seconds


def _rrule(value: object, path: Path, findings: Findings) -> object:
    if not isinstance(value, str):
        findings.error(path, "not a recurrence rule", "for example FREQ=DAILY;BYHOUR=3")
        return value
    if len(value) > _LONGEST_RRULE:
        findings.error(path, f"longer than the {_LONGEST_RRULE} characters that Prefect takes")
    elif re.search(r"INTERVAL=0+(?!\d)", value, re.IGNORECASE):
        findings.error(path, "INTERVAL=0 never moves on", "give an interval of 1 or more")
    else:
        try:
            rrulestr(value)
        except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            message = f"not a recurrence rule (RFC 5545): {error}"
            findings.error(path, message, "for example FREQ=DAILY;BYHOUR=3")
    return value


def _timezone(value: object, path: Path, findings: Findings) -> object:
    if not isinstance(value, str) or (value and value not in _timezones()):
        hint = did_you_mean(str(value), _timezones()) or "for example Europe/London"
        findings.error(path, f"{value!r} is not a time zone of the IANA database", hint)
    return value


def _anchor(value: object, path: Path, findings: Findings) -> object:
    if isinstance(value, str | datetime):
        with suppress(ValidationError):
            return to_utc(value)
    findings.error(path, "not a date and time (ISO 8601)", 'for example "2026-01-01T00:00:00Z"')
    return None


def _flag(value: object, path: Path, findings: Findings) -> object:
    if not isinstance(value, bool):
        findings.error(path, f"{path[-1]} must be true or false")
    return value


def _slug(value: object, path: Path, findings: Findings) -> object:
    if not isinstance(value, str) or not value:
        findings.error(path, "a slug must be a text")
    return value


def _parameters(value: object, path: Path, findings: Findings) -> object:
    if not isinstance(value, Mapping):
        findings.error(path, "parameters must be a mapping")
    return value


_READERS = {
    "cron": _cron,
    "day_or": _flag,
    "interval": _interval,
    "anchor_date": _anchor,
    "rrule": _rrule,
    "timezone": _timezone,
    "active": _flag,
    "slug": _slug,
    "parameters": _parameters,
}
