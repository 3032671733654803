"""Schedules on both server versions: every form reads back equal, every change is one write and a refill."""

import pytest

from tests.integration.deployments import (
    KEY,
    KIND,
    create,
    declare,
    differing,
    document,
    others,
    refill_of,
    session_with,
    update,
)
from tests.testbed import seed

pytestmark = pytest.mark.anyio

FORMS = [
    {"cron": "0 3 * * *"},
    {"cron": "@daily", "timezone": "Europe/London", "day_or": False},
    {"cron": "*/5 * * * * *", "active": False},
    {"interval": 3600},
    {"interval": 0.5},
    {"interval": "PT1H30M", "timezone": "America/New_York"},
    {"interval": 90, "anchor_date": "2024-01-01T00:00:00+02:00"},
    {"interval": 90, "anchor_date": "2024-01-01T00:00:00", "timezone": "Europe/Paris"},
    {"rrule": "FREQ=DAILY;BYHOUR=3"},
    {"rrule": "FREQ=DAILY;COUNT=3"},
    {"rrule": "RRULE:FREQ=MINUTELY;INTERVAL=7", "timezone": "Europe/Paris"},
    {"rrule": "DTSTART:20400101T000000\nFREQ=SECONDLY;INTERVAL=30"},
    {"rrule": "DTSTART:20240101T000000Z\nRRULE:FREQ=WEEKLY"},
    {"schedule": {"cron": "0 1 * * *", "timezone": None}, "active": True},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
async def test_every_form_of_a_schedule_reads_back_equal(server, form):
    async with session_with(server) as session:
        live = await create(session, schedules=[form])
        declared = await declare(session, schedules=[form])
        assert differing(declared.fields, live) == {}
        again, _ = await update(session, live, {"description": "rewritten"})
        assert differing(declared.fields, again) == {}
        assert again.fields["schedules"] == live.fields["schedules"]


async def test_all_forms_at_once_are_a_multiset(server):
    async with session_with(server) as session:
        whole = [*FORMS, FORMS[0], FORMS[3]]
        live = await create(session, schedules=whole)
        declared = await declare(session, schedules=list(reversed(whole)))
        assert differing(declared.fields, live) == {}
        fewer = await declare(session, schedules=FORMS)
        assert list(differing(fewer.fields, live)) == ["schedules"]


SLUGGED = [{"cron": "0 1 * * *", "slug": "a"}, {"cron": "0 2 * * *", "slug": "b"}]
PLAIN = [{"cron": "0 1 * * *"}, {"interval": 60, "active": False}]
CHANGES = [
    ("no slugs: one more", PLAIN[:1], PLAIN),
    ("no slugs: one less", PLAIN, PLAIN[1:]),
    ("no slugs: none left", PLAIN, []),
    ("first one", [], PLAIN),
    ("toggled", PLAIN, [{"cron": "0 1 * * *", "active": False}, PLAIN[1]]),
    ("time changed", PLAIN, [{"cron": "0 2 * * *"}, PLAIN[1]]),
]
SLUG_CHANGES = [
    ("slugs: one changed", SLUGGED, [{"cron": "9 1 * * *", "slug": "a"}, SLUGGED[1]]),
    ("slugs: one more", SLUGGED[:1], SLUGGED),
    ("slugs: one less", SLUGGED, SLUGGED[:1]),
    ("slugs: none left", SLUGGED, []),
    ("slugs: renamed", SLUGGED[:1], [{"cron": "0 1 * * *", "slug": "z"}]),
    ("slugs: all new", SLUGGED, [{"cron": "0 9 * * *"}]),
    ("slugs come", PLAIN, SLUGGED),
    ("slugs beside plain ones", PLAIN, [*PLAIN, *SLUGGED]),
    ("parameters", SLUGGED[:1], [{**SLUGGED[0], "parameters": {"n": 1}}]),
    ("parameters go", [{**SLUGGED[0], "parameters": {"n": 1}}], SLUGGED[:1]),
    ("parameters without slug", PLAIN[:1], [{**PLAIN[0], "parameters": {"n": 1}}]),
]


async def _changes(session, before, after):
    live = await create(session, schedules=before, tags=["t"], parameters={"n": 1})
    declared = await declare(session, schedules=after)
    changes = differing(declared.fields, live)
    assert list(changes) == ["schedules"]
    changed, writes = await update(session, live, changes)
    assert differing(declared.fields, changed) == {}
    assert others(changed, {"schedules"}) == others(live, {"schedules"})
    assert len([write for write in writes if write != refill_of(live)]) == 1
    assert (refill_of(live) in writes) == any(s.get("active", True) for s in after)


@pytest.mark.parametrize(("what", "before", "after"), CHANGES)
async def test_a_change_of_schedules_is_one_write(server, what, before, after):
    async with session_with(server) as session:
        await _changes(session, before, after)


@pytest.mark.parametrize(("what", "before", "after"), SLUG_CHANGES)
async def test_a_change_of_schedules_with_slugs_is_one_write(prefect3, what, before, after):
    async with session_with(prefect3) as session:
        await _changes(session, before, after)


async def test_a_schedule_toggled_by_hand_stays_so_unless_git_says(server):
    async with session_with(server) as session:
        live = await create(session, schedules=[{"interval": 60}, {"cron": "0 1 * * *"}])
        with server.client() as client:
            made = seed.request(client, "GET", f"/deployments/{live.id}")
            for item in made["schedules"]:
                path = f"/deployments/{live.id}/schedules/{item['id']}"
                seed.request(client, "PATCH", path, {"active": False})

        live = await KIND.read(session, KEY, live.id)
        silent = await declare(session, schedules=[{"interval": 60}, {"cron": "0 1 * * *"}])
        assert differing(silent.fields, live) == {}
        more = await declare(
            session, schedules=[{"interval": 60}, {"cron": "0 1 * * *"}, {"cron": "0 2 * * *"}]
        )
        changes = differing(more.fields, live)
        changed, _ = await update(session, live, changes)
        active = {s.get("cron"): s["active"] for s in changed.fields["schedules"]}
        assert active == {None: False, "0 1 * * *": False, "0 2 * * *": True}
        saying = await declare(
            session, schedules=[{"interval": 60, "active": True}, {"cron": "0 1 * * *"}]
        )
        assert list(differing(saying.fields, live)) == ["schedules"]


async def test_an_undeclared_anchor_keeps_its_phase(server):
    async with session_with(server) as session:
        live = await create(session, schedules=[{"interval": 3600}])
        anchor = live.fields["schedules"][0]["anchor_date"]
        declared = await declare(session, schedules=[{"interval": 7200}])
        changed, _ = await update(session, live, differing(declared.fields, live))
        assert changed.fields["schedules"][0]["anchor_date"] == anchor


async def test_schedule_fields_of_prefect_3_are_problems_on_2(prefect2):
    item = {"cron": "0 1 * * *", "slug": "a", "parameters": {"n": 1}}
    async with session_with(prefect2) as session:
        parsed = KIND.parse(document(schedules=[item]))
        _, problems = await KIND.conform(parsed.declarations[0], session)
    assert [p.message for p in problems] == [
        "Prefect 2.20.26 can't hold parameters of a schedule",
        "Prefect 2.20.26 can't hold slug of a schedule",
    ]


async def test_a_rule_by_the_second_gets_its_start_from_prefect_3(prefect3):
    async with session_with(prefect3) as session:
        rule = {"rrule": "FREQ=SECONDLY;INTERVAL=30"}
        live = await create(session, schedules=[rule])
        assert "DTSTART" in live.fields["schedules"][0]["rrule"]
        assert differing((await declare(session, schedules=[rule])).fields, live) == {}


async def test_a_rule_by_the_second_without_start_is_refused_for_prefect_2(prefect2):
    """2.20 counts every second since 2020 at each look, and answers nothing meanwhile (tried)."""
    async with session_with(prefect2) as session:
        parsed = KIND.parse(document(schedules=[{"rrule": "FREQ=SECONDLY;INTERVAL=30"}]))
        _, problems = await KIND.conform(parsed.declarations[0], session)
    assert [p.message for p in problems] == [
        "Prefect 2.20.26 would count every second since 2020 for this rrule"
    ]
