"""Gives a deployment its scheduled runs back after a write: no due run is lost and none runs twice.

What a write to a deployment does to its auto-scheduled runs (facts; server code read; tried):

|                                     | 2.20.26                      | 3.8.8                         |
|-------------------------------------|------------------------------|-------------------------------|
| deletes runs in SCHEDULED that are  | overdue and future           | future                        |
| leaves runs that are                | claimed (PENDING) or further | overdue, claimed or further   |
| a run's idempotency key             | deployment, date             | deployment, schedule id, date |

So:

1. `look` before the write notes the time t (the server's clock, never ahead of it, and two seconds
   behind at most). On 2.20 it also reads the runs that may be overdue. If the write gives schedules
   new ids (3.x) or new dates' spellings (2.20: the key holds the date in the schedule's time zone),
   it also reads the runs that come soon after t. What it found is plain JSON without parameters: the
   caller keeps it until the refill is done, so that whoever comes after a killed process can do it
   (`Seen.notes`).
2. `refill` after the write asks the server to schedule from t, not from now: a run that fell due
   during the write comes back too, and one that is there or was claimed keeps its key and isn't
   made again.
3. On 2.20 each overdue run is made again under its own key: exactly those, whatever the schedule
   says now, and never one that an agent claimed in the meantime.
4. Where keys changed, the server schedules from the moment at which it made the new schedules, the
   write itself. Runs of before are those of the old ones: any that is missing is made again under
   its own key. So a run that was due can't be met by another one of the same moment.
5. Only a run that was claimed ahead of its time (Prefect's workers do that) can still be met by a new
   one; that one is cancelled. (Deleted, the server's scheduler would make it again.)
6. A pass of the server's own scheduler that read the old schedules before the write may insert their
   runs after it (Prefect 3.8.8, 2.20.26: code read; met in tests). Where the key tells them (the
   schedule's id on 3.x, the time zone on 2.20) those that are there by now are deleted, so that none
   is a second run of its moment. Where no schedule is on any more, they are all that were to come.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from reconciler.api.client import Api, Repeat
from reconciler.api.server_clock import CLOCK_LAG
from reconciler.errors import NotFound

_LAG = timedelta(seconds=CLOCK_LAG)

_SOON = timedelta(minutes=10)
"""After a look, a write was sent or is given up: a request's deadline and a large plan's queue."""

_GAP = timedelta(minutes=3)
"""After a write, the server's own scheduler has passed (every minute): from then on nothing is missing."""


@dataclass(frozen=True, slots=True)
class Run:
    """An auto-scheduled flow run, as far as it takes to make it again.

    Attributes:
        id: the server's.
        key: idempotency key.
        name: of the run.
        moment: the time for which it was made.
        due: the time at which it is to start (later, if it awaits a retry).
    """

    id: str
    key: str
    name: str
    moment: datetime
    due: datetime

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> "Run":
        """Read the API's answer."""
        moment = datetime.fromisoformat(raw["expected_start_time"]).astimezone(UTC)
        due = raw["next_scheduled_start_time"]
        return cls(
            id=raw["id"],
            key=raw["idempotency_key"],
            name=raw["name"],
            moment=moment,
            due=datetime.fromisoformat(due).astimezone(UTC) if due else moment,
        )

    def notes(self) -> dict[str, str]:
        """Return it as JSON."""
        return {
            **asdict(self),
            "moment": self.moment.isoformat(),
            "due": self.due.isoformat(),
        }

    @classmethod
    def from_notes(cls, notes: Mapping[str, str]) -> "Run":
        """Return what `notes` wrote."""
        times = {name: datetime.fromisoformat(notes[name]) for name in ("moment", "due")}
        return cls(**{**notes, **times})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Seen:
    """What `look` found before a write.

    Attributes:
        since: the server's time.
        overdue: auto-scheduled runs that the write will delete although they are due (2.20).
        coming: auto-scheduled runs that come soon after `since`; None if the write keeps their keys.
    """

    since: datetime
    overdue: tuple[Run, ...] = ()
    coming: tuple[Run, ...] | None = None

    def notes(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "since": self.since.isoformat(),
            "overdue": [run.notes() for run in self.overdue],
            "coming": None if self.coming is None else [run.notes() for run in self.coming],
        }

    @classmethod
    def from_notes(cls, notes: Mapping[str, Any]) -> "Seen":
        """Return what `notes` wrote."""
        coming = notes["coming"]
        return cls(
            since=datetime.fromisoformat(notes["since"]),
            overdue=tuple(map(Run.from_notes, notes["overdue"])),
            coming=None if coming is None else tuple(map(Run.from_notes, coming)),
        )


async def look(api: Api, id_: str, *, scheduled: bool, new_keys: bool, active: bool) -> Seen:
    """Note what a write to a deployment is about to disturb.

    Args:
        api: the client.
        id_: of the deployment.
        scheduled: it has schedules now; without any there is nothing to note.
        new_keys: the write replaces its schedules.
        active: it has an active schedule after the write.
    """
    since = api.now()
    if not scheduled:
        return Seen(since)
    # What has fallen due since then by the server's true time is overdue, too. Only where the write
    # changes keys is it left to `refill`: made again from here it could meet the run of the new key.
    until = since if new_keys and active else since + _LAG
    overdue = await _overdue(api, id_, until) if api.facts.is_v2 else []
    coming = await _coming(api, id_, since) if new_keys else None
    return Seen(
        since,
        tuple(map(Run.of, overdue)),
        None if coming is None else tuple(map(Run.of, coming)),
    )


async def refill(api: Api, id_: str, seen: Seen, *, paused: bool, active: bool) -> None:
    """Give a deployment its runs back. May be repeated, also by another process and later.

    Args:
        api: the client.
        id_: of the deployment.
        seen: by `look`.
        paused: it is paused now; then what the write has deleted stays deleted, as Prefect itself
            does it when a deployment is paused.
        active: it has an active schedule now.
    """
    if paused:
        return
    start, lost, schedules = seen.since, list(seen.overdue), None
    if seen.coming is not None:
        schedules = (await api.get(f"/deployments/{id_}"))["schedules"]
        start = max(start, _made(schedules))
        lost += await _unmet(api, id_, seen, start)
    for run in lost:
        await _again(api, id_, run)
    if active:
        await _schedule(api, id_, seen, start)
    if schedules is not None:
        # Where none is left nothing tells when the write was: what is due by now may be older.
        await _delete_strays(api, id_, start if schedules else api.now() + _LAG)


async def _unmet(api: Api, id_: str, seen: Seen, until: datetime) -> list[Run]:
    """Return the runs of old keys up to a moment that are gone, and that no run of a new key replaces.

    Where this comes late the server has scheduled by the new keys for a while, perhaps: where somebody
    touched a schedule since, `until` is that moment and not the write's.
    """
    coming = seen.coming or ()
    lost = [run for run in coming if run.moment <= until]
    if not lost:
        return []
    there = [Run.of(run) for run in await _coming(api, id_, seen.since)]
    keys, known = {run.key for run in there}, {run.key for run in coming}
    met = Counter(run.moment for run in there if run.key not in known)
    missing = []
    for run in lost:
        if run.key in keys:
            continue
        if met[run.moment]:
            met[run.moment] -= 1
        else:
            missing.append(run)
    return missing


async def _schedule(api: Api, id_: str, seen: Seen, start: datetime) -> None:
    """Let the server schedule from a moment on, and leave one run for each moment."""
    body = {"start_time": start.isoformat()}
    if api.now() - start > _GAP:
        body["end_time"] = (start + _GAP).isoformat()
    await api.post(f"/deployments/{id_}/schedule", body, repeat=Repeat.SAFE)
    if seen.coming:
        await _cancel_doubles(api, id_, seen)


def _made(schedules: Iterable[Mapping[str, Any]]) -> datetime:
    """Return when the server made or changed a deployment's schedules last."""
    times = [item.get(name) for item in schedules for name in ("created", "updated")]
    found = [datetime.fromisoformat(time) for time in times if time]
    return max(found, default=datetime.fromtimestamp(0, UTC))


async def _overdue(api: Api, id_: str, now: datetime) -> list[Mapping[str, Any]]:
    # By the moment for which it was made: a run that awaits a retry is due too, though later.
    wanted = {
        "state": {"type": {"any_": ["SCHEDULED"]}},
        "expected_start_time": {"before_": now.isoformat()},
    }
    return await _runs(api, id_, wanted)


async def _coming(api: Api, id_: str, since: datetime) -> list[Mapping[str, Any]]:
    near = {"after_": since.isoformat(), "before_": (since + _SOON).isoformat()}
    return await _runs(api, id_, {"expected_start_time": near})


async def _runs(api: Api, id_: str, wanted: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    body = {
        "deployments": {"id": {"any_": [id_]}},
        "flow_runs": wanted,
        "sort": "EXPECTED_START_TIME_ASC",
    }
    found = [run async for page in api.pages("/flow_runs/filter", body) for run in page]
    return [run for run in found if run["auto_scheduled"]]


async def _again(api: Api, id_: str, run: Run) -> None:
    """Make a run again, if it is gone; an upsert by its key (facts: `create_flow_run`)."""
    # One put back into its queue is due since then, and still the run of its own moment.
    start = run.due if run.due > api.now() else run.moment
    state = {
        "type": "SCHEDULED",
        "message": "Scheduled again after its deployment was changed",
        "state_details": {"scheduled_time": start.isoformat()},
    }
    body = {
        "state": state,
        "name": run.name,
        "idempotency_key": run.key,
        "tags": ["auto-scheduled"],
        "enforce_parameter_schema": False,  # as for every scheduled run
    }
    await api.post(f"/deployments/{id_}/create_flow_run", body, repeat=Repeat.SAFE)


async def _cancel_doubles(api: Api, id_: str, seen: Seen) -> None:
    runs = await _coming(api, id_, seen.since)
    known = frozenset(run.id for run in seen.coming or ())
    survivors = Counter(Run.of(run).moment for run in runs if run["id"] in known)
    for run in _new(runs, known):
        moment = Run.of(run).moment
        if survivors[moment]:
            survivors[moment] -= 1
            await _cancel(api, run["id"])


def _new(runs: Iterable[Mapping[str, Any]], known: frozenset[str]) -> Iterable[Mapping[str, Any]]:
    return (run for run in runs if run["id"] not in known and run["state_type"] == "SCHEDULED")


async def _delete_strays(api: Api, id_: str, start: datetime) -> None:
    """Delete scheduled runs whose keys say that no schedule that is on has made them.

    What Prefect 3.8.8 spares where it deletes runs of old schedules is spared: a run that waits for a
    slot, and one that has run before.
    """
    wanted = {
        "state": {"type": {"any_": ["SCHEDULED"]}},
        "expected_start_time": {"after_": start.isoformat()},
    }
    runs = await _runs(api, id_, wanted)
    # After the runs: those of a schedule that somebody makes at this moment are not among them.
    schedules = (await api.get(f"/deployments/{id_}"))["schedules"] if runs else []
    active = [item for item in schedules if item["active"]]
    is_stray = _is_stray_v2 if api.facts.is_v2 else _is_stray_v3
    for run in runs:
        spared = run["run_count"] or run["state_name"] == "AwaitingConcurrencySlot"
        if not spared and is_stray(run["idempotency_key"], active):
            await _delete(api, run["id"])


def _is_stray_v3(key: str, schedules: Iterable[Mapping[str, Any]]) -> bool:
    """`scheduled <deployment> <schedule> <date>`."""
    return key.split()[2] not in {item["id"] for item in schedules}


def _is_stray_v2(key: str, schedules: Iterable[Mapping[str, Any]]) -> bool:
    """`scheduled <deployment> <date>`, and the date as the schedule's time zone spells it."""
    date = datetime.fromisoformat(key.split(maxsplit=2)[2])
    zones = {ZoneInfo(item["schedule"].get("timezone") or "UTC") for item in schedules}
    return date.utcoffset() not in {date.astimezone(zone).utcoffset() for zone in zones}


async def _delete(api: Api, id_: str) -> None:
    with suppress(NotFound):
        await api.delete(f"/flow_runs/{id_}")


async def _cancel(api: Api, id_: str) -> None:
    message = "Its deployment was changed while a run of the same moment was already under way"
    body = {"state": {"type": "CANCELLED", "message": message}}
    await api.post(f"/flow_runs/{id_}/set_state", body, repeat=Repeat.SAFE)
