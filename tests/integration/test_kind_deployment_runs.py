"""No due run is lost and none runs twice when a deployment is written, on both server versions."""

import itertools
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest

from tests.integration.deployments import (
    KEY,
    KIND,
    RecordingApi,
    create,
    declare,
    differing,
    session_with,
    update,
)
from tests.testbed import seed

pytestmark = pytest.mark.anyio

MINUTE = [{"interval": 60, "anchor_date": "2024-01-01T00:00:00Z"}]
HALF = [{"interval": 30, "anchor_date": "2024-01-01T00:00:00Z"}]
REFILLED = timedelta(minutes=45)
"""Within 100 runs (what the server schedules at a time), also of half a minute."""

PARIS = [{"interval": 60, "anchor_date": "2024-01-01T00:00:00Z", "timezone": "Europe/Paris"}]


def runs_of(server, id_):
    with server.client() as client:
        runs = seed.listing(client, "flow_runs", deployments={"id": {"any_": [id_]}})
    return [run for run in runs if run["state_type"] != "CANCELLED"]


def moments(runs):
    return Counter(moment(run) for run in runs)


def moment(run):
    return datetime.fromisoformat(run["expected_start_time"]).astimezone(UTC)


def kept(server, id_, until):
    """Return the moments of the runs that no write may lose: what was due, and what is claimed.

    The server's own scheduler may add runs of a schedule that it read while it was on.
    """
    runs = runs_of(server, id_)
    return sorted(
        moment(run) for run in runs if moment(run) <= until or run["state_type"] != "SCHEDULED"
    )


async def late_due_and_claimed(server, session, schedules=MINUTE):
    """Make a deployment with an overdue run, a run claimed ahead, one that runs, and future ones."""
    live = await create(session, schedules=schedules)
    start = datetime.now(UTC) - timedelta(minutes=5)
    with server.client() as client:
        body = {"start_time": start.isoformat(), "min_time": 600, "max_runs": 100}
        seed.request(client, "POST", f"/deployments/{live.id}/schedule", body)
        runs = sorted(runs_of(server, live.id), key=moment)
        now = datetime.now(UTC)
        overdue = [run for run in runs if moment(run) < now]
        ahead = [run for run in runs if moment(run) > now + timedelta(seconds=5)]
        assert len(overdue) >= 4
        seed.set_state(client, overdue[0]["id"], "COMPLETED")
        seed.set_state(client, overdue[1]["id"], "RUNNING")
        seed.set_state(client, overdue[2]["id"], "PENDING")
        seed.set_state(client, ahead[0]["id"], "PENDING")
    return live, runs


CHANGES = [
    ("one field", MINUTE, {"description": "new"}),
    ("a re-POST on 2.20", MINUTE, {"pull_steps": [{"a": {}}]}),
    (
        "a re-POST on both",
        MINUTE,
        {"parameters": {"n": {"__prefect_kind": "jinja", "template": "1"}}},
    ),
    ("the schedules, other timezone", MINUTE, {"schedules": PARIS}),
    ("the schedules, more often", MINUTE, {"schedules": HALF}),
]


@pytest.mark.parametrize(("what", "before", "fields"), CHANGES)
async def test_no_due_run_is_lost_and_none_runs_twice(server, what, before, fields):
    async with session_with(server) as session:
        live, old = await late_due_and_claimed(server, session)
        declared = await declare(session, **{"schedules": before, **fields})
        await update(session, live, differing(declared.fields, live))

        now = runs_of(server, live.id)
        assert not [m for m, count in moments(now).items() if count > 1]
        due = {moment(run) for run in old if moment(run) <= datetime.now(UTC)}
        assert due <= moments(now).keys()
        states = {moment(run): run["state_type"] for run in now}
        by_hand = sorted(old, key=moment)
        assert [states[moment(run)] for run in by_hand[:3]] == ["COMPLETED", "RUNNING", "PENDING"]
        future = sorted(m for m in moments(now) if m > datetime.now(UTC))
        assert Counter(states.values())["PENDING"] == 2  # the one claimed ahead, too
        step = timedelta(seconds=30 if fields.get("schedules") == HALF else 60)
        # A pass of the server's own scheduler that still read the old schedule fills an hour, a
        # refill of 100 runs by the half minute less: what comes after those has gaps for a minute.
        near = [moment for moment in future if moment < datetime.now(UTC) + REFILLED]
        assert len(near) >= REFILLED // step - 1
        assert {b - a for a, b in itertools.pairwise(near)} == {step}


async def test_a_write_while_schedules_are_off_loses_no_due_run(server):
    async with session_with(server) as session:
        live, _ = await late_due_and_claimed(server, session)
        off = [{**MINUTE[0], "active": False}]
        declared = await declare(session, schedules=off)
        until = datetime.now(UTC)
        due = kept(server, live.id, until)
        await update(session, live, differing(declared.fields, live))
        assert kept(server, live.id, until) == due
        live = await KIND.read(session, KEY, live.id)
        declared = await declare(session, schedules=off, description="new")
        await update(session, live, differing(declared.fields, live))
        assert kept(server, live.id, until) == due
        assert len(due) >= 4


async def test_a_write_after_schedules_were_turned_off_by_hand_loses_no_due_run(server):
    async with session_with(server) as session:
        live, _ = await late_due_and_claimed(server, session)
        with server.client() as client:
            path = f"/deployments/{live.id}/schedules"
            (schedule,) = seed.request(client, "GET", path)
            seed.request(client, "PATCH", f"{path}/{schedule['id']}", {"active": False})
        until = datetime.now(UTC)
        due = kept(server, live.id, until)
        live = await KIND.read(session, KEY, live.id)
        await update(session, live, {"description": "new"})
        assert kept(server, live.id, until) == due
        assert len(due) >= 4


async def test_a_run_that_was_given_back_while_schedules_are_off_is_not_lost(server):
    """As an agent that is stopped does it; on 2.20 the next write would delete it."""
    off = [{**MINUTE[0], "active": False}]
    async with session_with(server) as session:
        live, old = await late_due_and_claimed(server, session)
        await update(session, live, {"schedules": off})
        claimed = sorted(old, key=moment)[2]
        with server.client() as client:
            seed.set_state(client, claimed["id"], "SCHEDULED")
        live = await KIND.read(session, KEY, live.id)
        await update(session, live, {"description": "new"})
        keys = [run["idempotency_key"] for run in runs_of(server, live.id)]
        assert claimed["idempotency_key"] in keys


async def test_nothing_is_noted_where_nothing_is_to_come_back(server):
    off = [{**MINUTE[0], "active": False}]
    async with session_with(server) as session:
        live = await create(session, schedules=off)
        assert await KIND.before_update(session, live, {"description": "new"}) is None
        assert await KIND.before_update(session, live, {"schedules": MINUTE}) is not None


class Lagging(RecordingApi):
    """Knows the server's time by an answer that is almost two seconds old."""

    def now(self):
        return datetime.now(UTC) - timedelta(seconds=1.9)


DAILY = [{"cron": "0 3 * * *", "timezone": "Asia/Tokyo"}]


@pytest.mark.parametrize("others", [[], DAILY], ids=["all off", "one on"])
async def test_a_run_that_has_just_fallen_due_while_schedules_are_off_is_not_lost(server, others):
    off = {**MINUTE[0], "active": False}
    async with session_with(server) as session:
        live = await create(session, schedules=[off, *others])
        just_now = (datetime.now(UTC) - timedelta(seconds=0.2)).isoformat()
        given_back = {
            "state": {"type": "SCHEDULED", "state_details": {"scheduled_time": just_now}},
            "idempotency_key": f"scheduled {live.id} {just_now}",
        }
        made = await session.api.post(f"/deployments/{live.id}/create_flow_run", given_back)
        mark_auto_scheduled(server, made["id"])
        session.api = Lagging(session.api)
        await update(session, live, {"description": "new"})
        keys = [run["idempotency_key"] for run in runs_of(server, live.id)]
        assert keys.count(given_back["idempotency_key"]) == 1


class LateScheduler(RecordingApi):
    """Prefect's own scheduler, which inserts after a write what it had read before it."""

    state_name = "Scheduled"

    async def patch(self, path, body):
        before = await self._api.get(path)
        await super().patch(path, body)
        schedule = "" if self.facts.is_v2 else f"{before['schedules'][0]['id']} "
        state = {"type": "SCHEDULED", "name": self.state_name}
        stray = {
            "state": {**state, "state_details": {"scheduled_time": self.moment}},
            "idempotency_key": f"scheduled {before['id']} {schedule}{self.moment}",
        }
        made = await self._api.post(f"{path}/create_flow_run", stray)
        self.mark(made["id"])


def late_scheduler(server, session):
    api = LateScheduler(session.api)
    api.moment = (datetime.now(UTC) + timedelta(minutes=30)).isoformat()
    api.mark = partial(mark_auto_scheduled, server)
    return api


OFF = [{**MINUTE[0], "active": False}]


@pytest.mark.parametrize("after", [PARIS, OFF, []], ids=["other", "off", "none"])
async def test_a_run_that_the_scheduler_adds_late_for_a_replaced_schedule_goes(server, after):
    async with session_with(server) as session:
        live = await create(session, schedules=MINUTE)
        declared = await declare(session, schedules=after)
        session.api = late_scheduler(server, session)
        await update(session, live, differing(declared.fields, live))
        left = [run for run in runs_of(server, live.id) if moment(run).microsecond]
        assert left == []
        soon = datetime.now(UTC) + timedelta(minutes=2)
        to_come = [run for run in runs_of(server, live.id) if moment(run) > soon]
        assert bool(to_come) is (after is PARIS)


async def test_a_run_that_waits_for_a_slot_is_spared_where_schedules_are_replaced(server):
    """As Prefect 3 itself spares it: an agent has claimed it already."""
    async with session_with(server) as session:
        live = await create(session, schedules=MINUTE)
        declared = await declare(session, schedules=PARIS)
        session.api = late_scheduler(server, session)
        session.api.state_name = "AwaitingConcurrencySlot"
        await update(session, live, differing(declared.fields, live))
        assert [r for r in runs_of(server, live.id) if r["state_name"] == session.api.state_name]


@pytest.mark.parametrize("server", ["3.x"], indirect=True)  # 2.20 deletes it with the write
async def test_a_run_that_fell_due_before_all_schedules_were_removed_stays(server):
    async with session_with(server) as session:
        live = await create(session, schedules=MINUTE)
        notes = await KIND.before_update(session, live, {"schedules": []})
        notes["since"] = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
        due = (datetime.now(UTC) - timedelta(seconds=20)).isoformat()
        [schedule] = (await session.api.get(f"/deployments/{live.id}"))["schedules"]
        body = {
            "state": {"type": "SCHEDULED", "state_details": {"scheduled_time": due}},
            "idempotency_key": f"scheduled {live.id} {schedule['id']} {due}",
        }
        made = await session.api.post(f"/deployments/{live.id}/create_flow_run", body)
        mark_auto_scheduled(server, made["id"])
        await KIND.update(session, live, {"schedules": []})
        after = replace(live, fields={**live.fields, "schedules": []})
        await KIND.after_update(session, after, notes)
        assert made["id"] in [run["id"] for run in runs_of(server, live.id)]


def mark_auto_scheduled(server, id_):
    with closing(sqlite3.connect(server.database, timeout=60)) as database, database:
        changed = database.execute(
            "UPDATE flow_run SET auto_scheduled = 1 WHERE id IN (?, ?)", (id_, id_.replace("-", ""))
        )
        assert changed.rowcount == 1


async def test_a_refill_may_be_repeated_by_another_process(server):
    async with session_with(server) as session:
        live, old = await late_due_and_claimed(server, session)
        notes = await KIND.before_update(session, live, {"schedules": PARIS})
        await KIND.update(session, live, {"schedules": PARIS})
        live = await KIND.read(session, KEY, live.id)
        for _ in range(2):
            await KIND.after_update(session, live, notes)
            found = moments(runs_of(server, live.id))
            assert {moment(run) for run in old if moment(run) <= datetime.now(UTC)} <= found.keys()
            assert not [m for m, count in found.items() if count > 1]


async def test_a_late_refill_doubles_no_moment_that_the_server_has_met_by_new_keys(server):
    """The process that wrote died, and the server went on with the new schedule for minutes."""
    async with session_with(server) as session:
        live = await create(session, schedules=MINUTE)
        notes = await KIND.before_update(session, live, {"schedules": PARIS})
        await KIND.update(session, live, {"schedules": PARIS})
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        since, *minutes = [now - timedelta(minutes=number) for number in (4, 3, 2, 1)]
        with server.client() as client:
            body = {"start_time": since.isoformat(), "min_time": 600, "max_runs": 100}
            seed.request(client, "POST", f"/deployments/{live.id}/schedule", body)
        old = [
            {"id": str(uuid4()), "key": f"scheduled {live.id} old {at}", "name": "old"}
            | dict.fromkeys(("moment", "due"), at)
            for at in (minute.isoformat() for minute in minutes)
        ]
        notes |= {"since": since.isoformat(), "coming": old, "overdue": []}
        live = await KIND.read(session, KEY, live.id)
        await KIND.after_update(session, live, notes)
        found = moments(runs_of(server, live.id))
        assert [found[minute] for minute in minutes] == [1, 1, 1]


async def test_a_refill_long_after_the_write_makes_what_fell_due_meanwhile_and_no_more(server):
    async with session_with(server) as session:
        live = await create(session, schedules=MINUTE)
        notes = await KIND.before_update(session, live, {"description": "x"})
        hour_ago = datetime.now(UTC) - timedelta(hours=1)
        await KIND.after_update(session, live, {**notes, "since": hour_ago.isoformat()})
        made = moments(runs_of(server, live.id))
        assert len([m for m in made if m < hour_ago + timedelta(minutes=30)]) == 3


async def test_runs_of_other_deployments_stay(server):
    async with session_with(server) as session:
        live = await create(session, schedules=MINUTE)
        with server.client() as client:
            other = seed.deployment(
                client, "other", schedules=[{"schedule": {"interval": 60}, "active": True}]
            )
            seed.request(client, "POST", f"/deployments/{other['id']}/schedule", {})
        before = {run["id"] for run in runs_of(server, other["id"])}
        assert before
        await update(session, live, {"description": "x"})
        assert {run["id"] for run in runs_of(server, other["id"])} >= before


async def test_a_new_deployment_has_its_runs_at_once(server):
    async with session_with(server) as session:
        live = await create(session, schedules=MINUTE)
        assert runs_of(server, live.id)


async def test_a_paused_deployment_gets_no_runs(server):
    async with session_with(server) as session:
        live = await create(session, schedules=MINUTE, paused=True)
        assert not runs_of(server, live.id)
        await update(session, live, {"description": "x"})
        assert not runs_of(server, live.id)


async def test_pausing_removes_future_runs_and_resuming_brings_them(server):
    async with session_with(server) as session:
        live = await create(session, schedules=MINUTE)
        before = {run["id"] for run in runs_of(server, live.id)}
        assert before
        paused, _ = await update(session, live, {"paused": True})
        # Of these only: the server's scheduler may add what it had read before the write (3.8.8).
        assert not before & {run["id"] for run in runs_of(server, live.id)}
        await update(session, paused, {"paused": False})
        assert runs_of(server, live.id)


async def test_an_overdue_run_keeps_its_name_and_key(prefect2):
    """2.20 deletes it with the write; it is made again, and the scheduler makes no second one."""
    async with session_with(prefect2) as session:
        live, old = await late_due_and_claimed(prefect2, session)
        late = sorted(old, key=moment)[3]
        await update(session, live, {"description": "x"})
        again = next(run for run in runs_of(prefect2, live.id) if moment(run) == moment(late))
        assert (again["name"], again["idempotency_key"]) == (late["name"], late["idempotency_key"])
        with prefect2.client() as client:
            body = {"start_time": late["expected_start_time"], "max_runs": 1}
            seed.request(client, "POST", f"/deployments/{live.id}/schedule", body)
        assert moments(runs_of(prefect2, live.id))[moment(late)] == 1
        live = await KIND.read(session, KEY, live.id)
        await update(session, live, {"description": "y"})
        assert moments(runs_of(prefect2, live.id))[moment(late)] == 1
