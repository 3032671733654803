"""Which commit a turn marks, and how."""

from reconciler.app.statuses import _of_turn
from reconciler.controller.follow import Reconciled
from reconciler.errors import InvalidManifests
from reconciler.forge.base import Verdict
from reconciler.model.places import Place
from reconciler.model.problems import Problem

BROKEN = InvalidManifests([Problem(Place("a.yaml", 1, 1), "broken")])


def test_problems_are_held_against_the_revision_that_has_them():
    commit, verdict, _ = _of_turn(Reconciled(None, BROKEN, newest="2" * 40))
    assert (commit, verdict) == ("2" * 40, Verdict.FAILURE)


def test_a_turn_about_no_commit_marks_none():
    assert _of_turn(Reconciled(None, BROKEN)) is None
    assert _of_turn(Reconciled(None)) is None
