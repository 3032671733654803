"""What an update takes away is noted before it, and given back after it, whoever does that."""

import pytest

from reconciler.errors import Rejected
from reconciler.model.desired import DriftPolicy, Options
from reconciler.model.plan import Action
from tests.fakes.bench import DEPLOYMENT, Bench, declare, tree
from tests.unit.engine.test_crash import killed

pytestmark = pytest.mark.anyio

BEFORE = tree(declare(DEPLOYMENT, tags=["a"]))
AFTER = tree(declare(DEPLOYMENT, tags=["b"]))


def at(method, path, fate):
    """Let that happen to one sort of request."""
    return lambda r: fate if r.method == method and r.path.endswith(path) else None


async def applied():
    bench = Bench()
    await bench.apply(BEFORE)
    return bench


def emptied(bench):
    return bench.server.named(str(DEPLOYMENT))["emptied"]


async def notes(bench):
    return (await bench.entries())[DEPLOYMENT].notes


async def test_notes_are_there_while_the_update_is_and_gone_after_it():
    bench = await applied()
    written = []

    def fault(request):
        if request.path.endswith("/refill"):
            written.append("taken" in bench.server.text())

    assert (await bench.apply(AFTER, fault)).converged
    assert written == [True]
    assert await notes(bench) is None


async def test_killed_before_it_gave_back_the_next_apply_does_and_says_why():
    bench = await applied()
    assert await killed(bench.apply(AFTER, at("POST", "/refill", "before")))
    assert emptied(bench)
    (change,) = (await bench.plan(AFTER)).changes
    assert (change.action, change.target) == (Action.UPDATE, {})
    assert "interrupted" in change.reason
    assert (await bench.apply(AFTER)).converged
    assert not emptied(bench)
    assert (await bench.plan(AFTER)).empty


async def test_another_change_gives_back_first():
    bench = await applied()
    assert await killed(bench.apply(AFTER, at("POST", "/refill", "before")))
    bench.writes()
    assert (await bench.apply(BEFORE)).converged
    things = [w.split("/")[-1] for w in bench.writes() if "/things/" in w]
    assert things[0] == "refill"
    assert things[-1] == "refill"
    assert len(things) == 3


async def test_what_was_taken_away_is_given_back_though_drift_is_only_reported():
    report_only = Options(drift=DriftPolicy.REPORT)
    bench = Bench()
    before = {"options": report_only, "description": "ours"}
    await bench.apply(tree(declare(DEPLOYMENT, tags=["a"], **before)))
    bench.server.named(str(DEPLOYMENT))["fields"]["description"] = "by hand"
    after = tree(declare(DEPLOYMENT, tags=["b"], **before))
    assert await killed(bench.apply(after, at("POST", "/refill", "before")))
    assert emptied(bench)
    report = await bench.apply(after)
    assert report.converged, report.to_json()
    assert not emptied(bench)
    assert bench.server.named(str(DEPLOYMENT))["fields"]["description"] == "by hand"
    assert await notes(bench) is None
    [still] = (await bench.plan(after)).changes
    assert still.action is Action.BLOCKED


async def test_a_give_back_that_fails_is_a_failure_and_is_tried_again():
    bench = await applied()
    report = await bench.apply(AFTER, at("POST", "/refill", "503"))
    (outcome,) = report.outcomes
    assert not report.converged
    assert "503" in outcome.error
    assert emptied(bench)
    report = await bench.apply(AFTER, at("POST", "/refill", "503"))
    assert not report.converged
    assert (await bench.apply(AFTER)).converged
    assert not emptied(bench)


async def test_a_give_back_that_is_refused_does_not_keep_the_change_that_mends_it_from_being_made():
    bench = await applied()

    def refused(request):
        tags = bench.server.named(str(DEPLOYMENT))["fields"]["tags"]
        if request.path.endswith("/refill") and tags != ["mended"]:
            raise Rejected("a variable is missing", status=422)

    assert not (await bench.apply(AFTER, refused)).converged
    report = await bench.apply(AFTER, refused)  # nothing has changed: it is said again
    assert "a variable is missing" in report.outcomes[0].error
    mended = tree(declare(DEPLOYMENT, tags=["mended"]))
    owed = await notes(bench)
    assert (await bench.apply(mended, refused)).converged
    assert await notes(bench) == owed, "the next apply tries again"
    bench.writes()
    assert (await bench.apply(mended, refused)).converged
    assert [one.split("/")[-1] for one in bench.writes() if "/things/" in one] == ["refill"]
    assert await notes(bench) is None
    assert (await bench.plan(mended)).empty


async def test_a_lost_answer_still_gives_back():
    bench = await applied()
    thing = bench.server.named(str(DEPLOYMENT))

    def late(request):
        if request.method == "PATCH" and "/things/" in request.path:
            thing["fields"]["tags"] = ["b"]
            thing["emptied"] = True
            return "503"
        return None

    assert (await bench.apply(AFTER, late)).converged
    assert not emptied(bench)
    assert await notes(bench) is None


async def test_what_git_no_longer_declares_is_deleted_with_its_notes():
    bench = await applied()
    assert await killed(bench.apply(AFTER, at("POST", "/refill", "before")))
    other = type(DEPLOYMENT).of("deployment", "etl", "other")
    nothing = tree(declare(other, tags=["x"]))
    assert (await bench.apply(nothing)).converged
    assert bench.server.named(str(DEPLOYMENT)) is None
