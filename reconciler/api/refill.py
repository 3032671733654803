"""Gives a deployment its scheduled runs back after a write: no due run is lost and none runs twice.

What a write to a deployment does to its auto-scheduled runs (facts; server code read; tried):

|                                     | 2.20.26                      | 3.8.8                         |
|-------------------------------------|------------------------------|-------------------------------|
| deletes runs in SCHEDULED that are  | overdue and future           | future                        |
| leaves runs that are                | claimed (PENDING) or further | overdue, claimed or further   |
| a run's idempotency key             | deployment, date             | deployment, schedule id, date |

So:

1. `look` before the write notes the time t (the server's clock, never ahead of it). On 2.20 it also
   reads the overdue runs. If the write gives schedules new ids (3.x) or new dates' spellings (2.20:
   the key holds the date in the schedule's time zone), it also reads all runs from t on.
2. `refill` after the write asks the server to schedule from t, not from now: a run that fell due
   during the write comes back too, and one that is there or was claimed keeps its key and isn't
   made again.
3. On 2.20 each overdue run is made again under its own key: exactly those, whatever the schedule
   says now, and never one that an agent claimed in the meantime.
4. Where keys changed, a new run at a moment for which an old one survived is cancelled. (Deleted, the
   server's scheduler would make it again.)

What remains: a process killed between the write and the refill loses overdue runs on 2.20; the
server's own scheduler brings back future ones within a minute. And on 3.x a worker may claim a
doubled run in the moment between steps 2 and 4.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from reconciler.api.client import Api, Repeat

Run = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """What `look` found before a write.

    Attributes:
        since: the server's time.
        overdue: auto-scheduled runs that the write will delete although they are due (2.20).
        known: ids of all auto-scheduled runs from `since` on; None if the write keeps their keys.
    """

    since: datetime
    overdue: tuple[Run, ...] = ()
    known: frozenset[str] | None = None


async def look(api: Api, id_: str, *, scheduled: bool, new_keys: bool) -> Seen:
    """Note what a write to a deployment is about to disturb.

    Args:
        api: the client.
        id_: of the deployment.
        scheduled: it has schedules now; without any there is nothing to note.
        new_keys: the write replaces its schedules.
    """
    since = api.now()
    if not scheduled:
        return Seen(since)
    overdue = await _overdue(api, id_, since) if api.facts.is_v2 else ()
    known = frozenset(run["id"] for run in await _from(api, id_, since)) if new_keys else None
    return Seen(since, overdue, known)


async def refill(api: Api, id_: str, seen: Seen, *, paused: bool, active: bool) -> None:
    """Give a deployment its runs back.

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
    for run in seen.overdue:
        await _again(api, id_, run)
    if not active:
        return
    body = {"start_time": seen.since.isoformat()}
    await api.post(f"/deployments/{id_}/schedule", body, repeat=Repeat.SAFE)
    if seen.known:
        await _cancel_doubles(api, id_, seen)


async def _overdue(api: Api, id_: str, now: datetime) -> tuple[Run, ...]:
    # By the moment for which it was made: a run that awaits a retry is due too, though later.
    wanted = {
        "state": {"type": {"any_": ["SCHEDULED"]}},
        "expected_start_time": {"before_": now.isoformat()},
    }
    runs = await _runs(api, id_, wanted)
    return tuple(run for run in runs if run["auto_scheduled"])


async def _from(api: Api, id_: str, moment: datetime) -> list[Run]:
    runs = await _runs(api, id_, {"expected_start_time": {"after_": moment.isoformat()}})
    return [run for run in runs if run["auto_scheduled"]]


async def _runs(api: Api, id_: str, wanted: Mapping[str, Any]) -> list[Run]:
    body = {
        "deployments": {"id": {"any_": [id_]}},
        "flow_runs": wanted,
        "sort": "EXPECTED_START_TIME_ASC",
    }
    return [run async for page in api.pages("/flow_runs/filter", body) for run in page]


async def _again(api: Api, id_: str, run: Run) -> None:
    """Make an overdue run again; an upsert by its key (facts: `create_flow_run`)."""
    state = {
        "type": "SCHEDULED",
        "message": "Scheduled again after its deployment was changed",
        "state_details": {"scheduled_time": run["next_scheduled_start_time"]},
    }
    body = {
        "state": state,
        "name": run["name"],
        "idempotency_key": run["idempotency_key"],
        "tags": ["auto-scheduled"],
        "enforce_parameter_schema": False,  # as for every scheduled run
    }
    await api.post(f"/deployments/{id_}/create_flow_run", body, repeat=Repeat.SAFE)


async def _cancel_doubles(api: Api, id_: str, seen: Seen) -> None:
    runs = await _from(api, id_, seen.since)
    known = seen.known or frozenset()
    survivors = Counter(_moment(run) for run in runs if run["id"] in known)
    for run in _new(runs, known):
        moment = _moment(run)
        if survivors[moment]:
            survivors[moment] -= 1
            await _cancel(api, run)


def _new(runs: Iterable[Run], known: frozenset[str]) -> Iterable[Run]:
    return (run for run in runs if run["id"] not in known and run["state_type"] == "SCHEDULED")


def _moment(run: Run) -> datetime:
    return datetime.fromisoformat(run["expected_start_time"]).astimezone(UTC)


async def _cancel(api: Api, run: Run) -> None:
    message = "Its deployment was changed while a run of the same moment was already under way"
    body = {"state": {"type": "CANCELLED", "message": message}}
    await api.post(f"/flow_runs/{run['id']}/set_state", body, repeat=Repeat.SAFE)
