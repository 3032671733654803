"""What `up` tells: each thing once, in plain words."""

import pytest

from reconciler.agent.observer import AgentEvent, Happening
from reconciler.app.local import RunEnd
from reconciler.cli.upwork import Teller, Voice, _report, is_loopback
from reconciler.controller.follow import Reconciled
from reconciler.errors import InvalidManifests, Unreachable
from reconciler.model.keys import Key
from reconciler.model.places import Place
from reconciler.model.plan import Action, Cause, Change, FieldChange, Plan
from reconciler.model.problems import Problem
from reconciler.model.report import Outcome, Report, Result
from reconciler.model.wishes import Location

KEY = Key.of("deployment", "etl", "nightly")


def report(result=Result.DONE, fields=2, **more):
    changed = tuple(FieldChange(f"parameters.p{n}", n, n + 1, Cause.GIT) for n in range(fields))
    change = Change(KEY, Action.UPDATE, Cause.GIT, "held for a reason", fields=changed)
    plan = Plan("abc", "d", "shop", "Prefect 3.8.8", (change,), notices=("look here",))
    return Report(plan, (Outcome(change, result, **more),))


def nothing():
    return Report(Plan("abc", "d", "shop", "Prefect 3.8.8", (), unchanged=3))


@pytest.fixture
def tell(capsys):
    teller = Teller(Location("flows"))

    def told(turn):
        teller(turn)
        said = capsys.readouterr()
        assert said.out == ""
        return said.err

    return told


def test_a_turn_tells_what_was_done_field_by_field(tell):
    said = tell(Reconciled(report(), fresh=True))
    assert "Revision abc: 1 done" in said
    assert "~ deployment/etl/nightly  update (git)" in said
    assert "parameters.p0: 0 → 1" in said
    assert "look here" in said
    assert "Watching flows" in said
    assert "Watching" not in tell(Reconciled(report(), fresh=True)), "once is enough"


def test_of_many_fields_the_rest_is_counted(tell):
    assert "and 4 more fields" in tell(Reconciled(report(fields=12), fresh=True))


def test_nothing_is_said_of_a_turn_without_news(tell):
    assert "3 in step" in tell(Reconciled(nothing(), fresh=True))
    assert tell(Reconciled(nothing())) == ""


def test_a_lasting_trouble_is_said_once_a_repeated_heal_each_time(tell):
    away = Reconciled(None, Unreachable("no connection", hint="is it running?"))
    assert "is it running?" in tell(away)
    assert tell(away) == ""
    failed = Reconciled(report(Result.FAILED, error="the server said no"))
    assert "the server said no" in tell(failed)
    assert tell(failed) == ""
    assert tell(Reconciled(report())) != ""
    assert tell(Reconciled(report())) != ""


def test_a_broken_revision_shows_its_problems_and_what_stays(tell):
    problem = Problem(Place("a.yaml", 2, 3), "unknown key 'x'", "did you mean y?")
    said = tell(Reconciled(nothing(), InvalidManifests([problem])))
    assert "a.yaml:2:3: unknown key 'x' (did you mean y?)" in said
    assert "1 problem in the manifests" in said
    assert "last good revision stays in force" in said
    other = Problem(Place("a.yaml", 5, 1), "unknown key 'z'")
    assert "a.yaml:5:1" in tell(Reconciled(nothing(), InvalidManifests([other])))


def test_the_end_of_a_trouble_is_said_also_where_nothing_is_to_be_done(tell):
    """Whoever takes a mistake back changes nothing, and wants to hear that it is gone."""
    problem = Problem(Place("a.yaml", 2, 3), "unknown key 'x'")
    tell(Reconciled(nothing(), InvalidManifests([problem])))
    assert "well again" in tell(Reconciled(nothing()))
    assert tell(Reconciled(nothing())) == ""
    tell(Reconciled(nothing(), InvalidManifests([problem])))
    assert "well again" not in tell(Reconciled(report(), fresh=True))


def test_a_stopped_apply_says_why(tell):
    stopped = Report(report().plan, error="the lease was lost")
    assert "the lease was lost" in tell(Reconciled(stopped, fresh=True))


def test_lines_of_a_run_carry_its_name_and_no_markup_of_theirs(capsys):
    voice = Voice()
    voice.event(AgentEvent(Happening.CLAIMED, "Claimed", "id-1234567", "busy-bee"))
    voice.output("id-1234567", "[red]hello[/red]")
    voice.event(AgentEvent(Happening.ENDED, "over", "id-1234567", "busy-bee", "FAILED", 1.0))
    voice.output("id-1234567", "late")
    said = capsys.readouterr().err
    assert "busy-bee │ [red]hello[/red]" in said
    assert "id-12345 │ late" in said


@pytest.mark.parametrize(
    ("ends", "code", "shown"),
    [
        (
            [RunEnd("deployment/a/b", "bee", "COMPLETED", "fine")],
            0,
            "COMPLETED  deployment/a/b  bee",
        ),
        ([RunEnd("deployment/a/b", "", None, "paused")], 0, "not run  deployment/a/b    paused"),
        (
            [RunEnd("deployment/a/b", "bee", "CRASHED", "OOM")],
            1,
            "CRASHED  deployment/a/b  bee  OOM",
        ),
        ([], 0, "There is no deployment to run."),
        (None, 1, ""),
    ],
)
def test_once_ends_by_how_the_runs_went(capsys, ends, code, shown):
    assert _report(ends) == code
    assert shown in capsys.readouterr().out


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:4200/api", True),
        ("http://[::1]:4200/api", True),
        ("http://localhost:4200/api", True),
        ("https://prefect.example/api", False),
        ("http://10.0.0.7/api", False),
        ("http://localhost.example/api", False),
    ],
)
def test_this_machine_is_known_by_its_addresses(url, here):
    assert is_loopback(url) is here
