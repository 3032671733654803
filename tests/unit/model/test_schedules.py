"""Schedules: reading what people write, and comparing what servers answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.desired import Document
from reconciler.model.findings import Findings
from reconciler.model.places import Place
from reconciler.model.schedule_reading import read_schedules
from reconciler.model.schedules import align, endless, from_wire, normal, ordered, to_wire
from reconciler.model.values import Secret

HERE = ("schedules",)


def read(*items):
    findings = Findings(Document({}, Place("a.yaml", 1, 1)))
    return read_schedules(list(items), HERE, findings), findings.problems


def complaints(*items):
    return [(p.message, p.hint) for p in read(*items)[1]]


def live(item, **more):
    """Return what a server makes of a schedule."""
    anchor = {"anchor_date": "2026-01-01T00:00:00Z"} if "interval" in item else {}
    timing = {k: v for k, v in item.items() if k not in ("active", "slug", "parameters")}
    wire = {"schedule": {**anchor, **timing}, "active": item.get("active", True), **more}
    return from_wire({**wire, "slug": item.get("slug"), "parameters": item.get("parameters")})


def test_flat_and_nested_items_read_alike():
    flat, _ = read({"cron": "0 3 * * *", "timezone": "Europe/London", "active": False})
    nested, problems = read(
        {"schedule": {"cron": "0 3 * * *", "timezone": "Europe/London"}, "active": False}
    )
    assert flat == nested
    assert problems == ()


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [(60, 60.0), (0.5, 0.5), ("PT1H", 3600.0), ("P1DT2H", 93600.0), ("01:30:00", 5400.0)],
)
def test_intervals_are_seconds_however_written(interval, seconds):
    schedules, problems = read({"interval": interval})
    assert problems == ()
    assert schedules[0]["interval"] == seconds


BAD = [
    ({"cron": "every day"}, "not a cron expression"),
    ({"cron": 5}, "not a cron expression"),
    ({"cron": "R * * * *"}, "cron"),
    ({"cron": "0 0 30 2 *"}, "never comes"),
    ({"cron": "0 0 30 2 1", "day_or": False}, "never comes"),
    ({"interval": 0}, "longer than nothing"),
    ({"interval": -5}, "longer than nothing"),
    ({"interval": 10**12}, "1,000 years"),
    ({"interval": "P999999D"}, "1,000 years"),
    ({"interval": "90"}, "not an interval"),
    ({"interval": True}, "not an interval"),
    ({"interval": "soon"}, "not an interval"),
    ({"rrule": "FREQ=OFTEN"}, "not a recurrence rule"),
    ({"rrule": "INTERVAL=3"}, "not a recurrence rule"),
    ({"rrule": 7}, "not a recurrence rule"),
    ({"rrule": "FREQ=DAILY;INTERVAL=0"}, "never moves on"),
    ({"rrule": "FREQ=DAILY;" + "X" * 7000}, "longer than"),
    ({"cron": "@daily", "timezone": "Europe/Londno"}, "not a time zone"),
    ({"cron": "@daily", "timezone": 1}, "not a time zone"),
    ({"interval": 5, "anchor_date": "yesterday"}, "not a date and time"),
    ({"interval": 5, "anchor_date": ["x"]}, "not a date and time"),
    ({"cron": "@daily", "anchor_date": "2026-01-01"}, "does not go with cron"),
    ({"interval": 5, "day_or": True}, "does not go with interval"),
    ({"cron": "@daily", "day_or": "yes"}, "day_or must be true or false"),
    ({"cron": "@daily", "active": 1}, "active must be true or false"),
    ({"cron": "@daily", "slug": ""}, "a slug must be a text"),
    ({"cron": "@daily", "parameters": [1]}, "parameters must be a mapping"),
    ({"cron": "@daily", "interval": 5}, "exactly one of"),
    ({}, "exactly one of"),
    ({"cron": "@daily", "tmiezone": "UTC"}, "unknown key 'tmiezone'"),
    ({"cron": "@daily", "max_scheduled_runs": 3}, "has no effect"),
    ({"schedule": {"cron": "@daily"}, "interval": 5}, "both a nested schedule and interval"),
    ({"schedule": "daily"}, "must be a mapping"),
    ("daily", "must be a mapping"),
]


@pytest.mark.parametrize(("item", "words"), BAD, ids=str)
def test_a_schedule_that_prefect_would_refuse_is_one_problem(item, words):
    found = complaints(item)
    assert len(found) == 1
    assert words in found[0][0]


def test_near_names_are_hints():
    assert complaints({"cron": "@daily", "timzone": "UTC"})[0][1] == "did you mean timezone?"
    assert "Europe/London" in complaints({"cron": "@daily", "timezone": "Europe/Londn"})[0][1]


def test_all_problems_of_all_schedules_are_found():
    assert len(complaints({"cron": "x", "timezone": "y"}, {"interval": 0}, 7)) == 4


def test_two_schedules_of_one_slug_are_a_problem():
    slug = {"cron": "@daily", "slug": "a"}
    assert [m for m, _ in complaints(slug, slug)] == ["two schedules have the slug 'a'"]


def test_schedules_must_be_a_list():
    findings = Findings(Document({}, Place("a.yaml", 1, 1)))
    assert read_schedules({"cron": "x"}, HERE, findings) == []
    assert findings.fatal
    assert read_schedules(None, HERE, findings) == []


def test_what_servers_drop_may_be_null():
    assert complaints({"cron": "@daily", "max_active_runs": None, "catchup": False}) == []


def test_a_day_that_only_a_weekday_saves_is_fine():
    assert complaints({"cron": "0 0 30 2 1"}) == []


def test_no_timezone_means_utc_on_both_sides():
    assert read({"cron": "@daily"})[0][0]["timezone"] == "UTC"
    assert live({"cron": "@daily", "timezone": None})["timezone"] == "UTC"


def test_an_anchor_is_a_moment_however_spelled():
    one = normal({"interval": 5, "anchor_date": "2024-01-01T02:00:00+02:00"})
    two = normal({"interval": 5, "anchor_date": "2024-01-01T00:00:00Z"})
    naive = normal({"interval": 5, "anchor_date": "2024-01-01T00:00:00"})
    assert one == two == naive


def test_an_undeclared_anchor_comes_from_the_live_side():
    declared, _ = read({"interval": 60})
    assert align(declared, [live({"interval": 60})]) == [live({"interval": 60})]


def test_a_declared_anchor_is_not_overruled():
    declared, _ = read({"interval": 60, "anchor_date": "2020-01-01T00:00:00Z"})
    assert align(declared, [live({"interval": 60})])[0]["anchor_date"].startswith("2020")


def test_an_undeclared_active_is_left_as_it_is():
    declared, _ = read({"cron": "@daily"}, {"cron": "@hourly", "active": True})
    paused = [live({"cron": "@daily", "active": False}), live({"cron": "@hourly", "active": False})]
    active = {s["cron"]: s["active"] for s in align(declared, paused)}
    assert active == {"@daily": False, "@hourly": True}


def test_the_definite_schedule_chooses_before_the_vague_one():
    declared, _ = read({"cron": "@daily"}, {"cron": "@daily", "active": False})
    found = [live({"cron": "@daily", "active": False}), live({"cron": "@daily"})]
    assert align(declared, found) == ordered(found)


def test_slugs_pair_before_timings():
    declared, _ = read({"cron": "1 1 * * *", "slug": "a"}, {"cron": "2 2 * * *", "slug": "b"})
    found = [
        live({"cron": "2 2 * * *", "slug": "a", "active": False}),
        live({"cron": "1 1 * * *", "slug": "b"}),
    ]
    assert {s["slug"]: s["active"] for s in align(declared, found)} == {"a": False, "b": True}


def test_an_undeclared_slug_is_kept():
    declared, _ = read({"cron": "@daily"})
    assert align(declared, [live({"cron": "@daily", "slug": "a"})])[0]["slug"] == "a"


def test_a_changed_hour_keeps_the_switch():
    declared, _ = read({"cron": "0 4 * * *"})
    aligned = align(declared, [live({"cron": "0 3 * * *", "active": False})])
    assert [(s["cron"], s["active"]) for s in aligned] == [("0 4 * * *", False)]


def test_nothing_live_leaves_open_what_git_left_open():
    declared, _ = read({"interval": 60})
    assert align(declared, []) == declared
    assert to_wire(declared[0], v2=True) == {
        "schedule": {"interval": 60.0, "timezone": "UTC"},
        "active": True,
    }


def test_plain_and_secret_parameters_pair():
    plain, _ = read({"cron": "@daily", "parameters": {"n": [1, {"a": 2}]}})
    assert align(plain, [live({"cron": "@daily", "parameters": {"n": [1, {"a": 2}]}})])
    hidden, _ = read({"cron": "@daily", "parameters": {"t": Secret("x")}})
    aligned = align(hidden, [live({"cron": "@daily", "active": False, "parameters": {"t": "x"}})])
    assert aligned[0]["active"] is False
    assert isinstance(aligned[0]["parameters"]["t"], Secret)


STARTS = [
    ("FREQ=DAILY", "DTSTART:20200101T000000", True),
    ("FREQ=DAILY", "DTSTART:20200102T000000", False),
    ("FREQ=MINUTELY;INTERVAL=7", "DTSTART:20200101T000700", True),
    ("FREQ=MINUTELY;INTERVAL=7", "DTSTART:20200101T000800", False),
    ("FREQ=SECONDLY;INTERVAL=30", "DTSTART:20261123T074230", True),
    ("FREQ=SECONDLY;COUNT=3", "DTSTART:20261123T074230", False),
]


@pytest.mark.parametrize(("rule", "start", "same"), STARTS)
def test_a_start_that_changes_no_occurrence_is_no_difference(rule, start, same):
    declared, _ = read({"rrule": rule})
    found = live({"rrule": f"{start}\n{rule}"})
    assert (align(declared, [found]) == [found]) is same


def test_another_rule_is_a_difference():
    declared, _ = read({"rrule": "FREQ=DAILY"})
    assert align(declared, [live({"rrule": "FREQ=WEEKLY"})])[0]["rrule"] == "FREQ=DAILY"
    started, _ = read({"rrule": "DTSTART:20200101T000000\nFREQ=DAILY"})
    assert align(started, [live({"rrule": "FREQ=DAILY"})])[0]["rrule"].startswith("DTSTART")


def test_rules_by_the_second_without_start_are_endless():
    assert endless({"rrule": "freq=secondly"})
    assert not endless({"rrule": "DTSTART:20260101T000000\nFREQ=SECONDLY"})
    assert not endless({"cron": "@daily"})


SCHEDULES = st.lists(
    st.one_of(
        st.fixed_dictionaries({"cron": st.sampled_from(["@daily", "0 3 * * *"])}),
        st.fixed_dictionaries({"interval": st.integers(1, 3)}),
        st.fixed_dictionaries({"rrule": st.sampled_from(["FREQ=DAILY", "FREQ=HOURLY"])}),
        st.fixed_dictionaries({"cron": st.just("@daily"), "active": st.booleans()}),
    ),
    max_size=6,
)


@given(SCHEDULES, st.randoms())
def test_order_never_matters(items, random):
    shuffled = list(items)
    random.shuffle(shuffled)
    assert ordered(live(i) for i in items) == ordered(live(i) for i in shuffled)
    assert read(*items)[0] == read(*shuffled)[0]


@given(SCHEDULES)
def test_what_was_written_aligns_to_what_is_read_back(items):
    declared, _ = read(*items)
    found = ordered(live(item) for item in items)
    assert align(declared, found) == found
    assert align(align(declared, found), found) == found
