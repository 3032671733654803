"""Schedules of deployments: one normal form, compared as Prefect means it.

The normal form is a flat mapping with one of `cron` (and `day_or`), `interval` (seconds) or `rrule`,
a `timezone`, `parameters`, and, where declared or live, `active`, `slug` and `anchor_date` (ISO 8601
in UTC). What git leaves open (`active`, `slug`, `anchor_date`) is absent until `align` takes it from
the live side. A list of schedules has no order: servers return it reversed (facts: "Schedules come
back in reverse insertion order").
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from reconciler.model.values import Secret

Schedule = Mapping[str, Any]

TIMINGS = ("cron", "interval", "rrule")
TIMING_KEYS = (*TIMINGS, "day_or", "anchor_date", "timezone")
_OPEN_KEYS = ("active", "slug", "anchor_date")
_RRULE_ORIGIN = datetime(2020, 1, 1)  # noqa: DTZ001 - Prefect's anchor is a floating time
_MOMENT: TypeAdapter[datetime] = TypeAdapter(datetime)


def to_utc(value: str | datetime) -> str:
    """Return a moment as ISO 8601 in UTC; raises pydantic's ValidationError for what is none."""
    moment = _MOMENT.validate_python(value)
    # A naive anchor counts as UTC, whatever the timezone says (Prefect 2.20.26, 3.8.8: tried).
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat()


def normal(schedule: Schedule) -> dict[str, Any]:
    """Bring a flat schedule into the normal form; what git left open stays absent.

    No time zone means UTC: so servers take it, for cron too, where they store null.
    """
    result = {key: value for key, value in schedule.items() if value is not None or key == "slug"}
    result["timezone"] = result.get("timezone") or "UTC"
    result["parameters"] = result.get("parameters") or {}
    if "cron" in result:
        result.setdefault("day_or", True)
    if isinstance(result.get("interval"), int | float):
        result["interval"] = float(result["interval"])
    if "anchor_date" in result:
        result["anchor_date"] = to_utc(result["anchor_date"])
    return result


def from_wire(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the normal form of a schedule as the API answers it."""
    flat = dict(item["schedule"])
    flat["active"] = bool(item.get("active", True))
    flat["slug"] = item.get("slug")
    flat["parameters"] = item.get("parameters")
    return normal(flat)


def to_wire(schedule: Schedule, *, v2: bool) -> dict[str, Any]:
    """Return what the API takes for a schedule; what git left open gets Prefect's defaults."""
    timing = {key: schedule[key] for key in TIMING_KEYS if key in schedule}
    body: dict[str, Any] = {"schedule": timing, "active": schedule.get("active", True)}
    if not v2:
        body["parameters"] = schedule.get("parameters") or {}
        body["slug"] = schedule.get("slug")
    return body


def ordered(schedules: Iterable[Schedule]) -> list[Schedule]:
    """Sort into the one order in which two equal multisets are equal lists."""
    found = list(schedules)
    return sorted(found, key=_order) if len(found) > 1 else found


def _order(schedule: Schedule) -> tuple[str, str]:
    open_ = {key: schedule.get(key) for key in ("anchor_date", "active")}
    timing = {key: schedule.get(key) for key in (*TIMINGS, "day_or", "timezone")}
    parts = [timing, open_, schedule.get("parameters")]
    text = json.dumps(parts, sort_keys=True, default=lambda _: "")
    return str(schedule.get("slug") or ""), text


def align(declared: Sequence[Schedule], live: Sequence[Schedule]) -> list[Schedule]:
    """Fill what git leaves open (`active`, `slug`, `anchor_date`, an rrule's start) from the live side.

    A declared schedule takes from the live one with its slug, else from one of the same timing, else
    from one of the same sort: so a schedule that somebody paused stays paused when its hour changes.
    """
    left = [dict(item) for item in live]
    # The most definite first, so that a vague one doesn't take the partner of a definite one.
    waiting = sorted(enumerate(declared), key=lambda pair: -len(pair[1]))
    pairs: dict[int, Schedule] = {}
    for fits in (_same_slug, _same_whole, _same_timing, _same_sort):
        for index, wanted in waiting:
            partner = next((item for item in left if fits(wanted, item)), None)
            if index not in pairs and partner is not None:
                left.remove(partner)
                pairs[index] = partner
    return ordered(_filled(item, pairs.get(index, {})) for index, item in enumerate(declared))


def _filled(wanted: Schedule, partner: Schedule) -> Schedule:
    taken = {key: partner[key] for key in _OPEN_KEYS if key in partner and key not in wanted}
    if "interval" not in wanted:
        taken.pop("anchor_date", None)
    result = {**wanted, **taken}
    if _started_by_server(wanted, partner):
        result["rrule"] = partner["rrule"]
    return result


def _same_slug(wanted: Schedule, item: Schedule) -> bool:
    return wanted.get("slug") is not None and wanted["slug"] == item.get("slug")


def _may_pair(wanted: Schedule, item: Schedule) -> bool:
    return "slug" not in wanted or wanted["slug"] == item.get("slug")


def _same_timing(wanted: Schedule, item: Schedule) -> bool:
    keys = [key for key in TIMING_KEYS if key in wanted and key != "rrule"]
    same_rule = wanted.get("rrule") == item.get("rrule") or _started_by_server(wanted, item)
    return (
        _may_pair(wanted, item) and same_rule and all(wanted[key] == item.get(key) for key in keys)
    )


def _same_whole(wanted: Schedule, item: Schedule) -> bool:
    return (
        _same_timing(wanted, item)
        and ("active" not in wanted or wanted["active"] == item.get("active"))
        and _same_plain(wanted.get("parameters"), item.get("parameters"))
    )


def _same_plain(wanted: object, item: object) -> bool:
    """Compare trees; a secret can't be compared and differs."""
    if isinstance(wanted, Secret):
        return False
    if isinstance(wanted, Mapping) and isinstance(item, Mapping):
        return wanted.keys() == item.keys() and all(_same_plain(wanted[k], item[k]) for k in wanted)
    if isinstance(wanted, list | tuple) and isinstance(item, list | tuple):
        return len(wanted) == len(item) and all(map(_same_plain, wanted, item))
    return wanted == item


def _same_sort(wanted: Schedule, item: Schedule) -> bool:
    return _may_pair(wanted, item) and any(key in wanted and key in item for key in TIMINGS)


def _started_by_server(wanted: Schedule, item: Schedule) -> bool:
    """Tell whether the live rule is the declared one with the start that Prefect 3 puts before it.

    3.x writes `DTSTART:20200101T000000`, and before rules by the second or minute a later moment of
    the same phase (Prefect 3.8.8: tried); such a start changes no occurrence.
    """
    rule, found = wanted.get("rrule"), item.get("rrule")
    if not isinstance(rule, str) or not isinstance(found, str) or "DTSTART" in rule.upper():
        return False
    match = re.fullmatch(r"DTSTART:(\d{8}T\d{6})\n(.*)", found, re.DOTALL)
    if match is None or match[2] != rule:
        return False
    start = datetime.strptime(match[1], "%Y%m%dT%H%M%S")  # noqa: DTZ007 - floating on purpose
    return (start - _RRULE_ORIGIN).total_seconds() % _period(rule) == 0


def _period(rule: str) -> float:
    """Return the seconds between two occurrences of a plain rule by second or minute, else infinity."""
    words = dict(re.findall(r"([A-Z]+)=([A-Z0-9]+)", rule.upper()))
    unit = {"SECONDLY": 1, "MINUTELY": 60}.get(words.get("FREQ", ""))
    if unit is None or "COUNT" in words:
        return float("inf")
    return unit * int(words.get("INTERVAL", "1"))


def endless(schedule: Schedule) -> bool:
    """Tell whether a rule counts seconds from Prefect's own start, the year 2020."""
    rule = str(schedule.get("rrule") or "").upper()
    return "FREQ=SECONDLY" in rule and "DTSTART" not in rule
