"""Plan files: what was planned, and how to plan it again."""

import json

import pytest

from reconciler.cli import saved as plans
from reconciler.errors import UsageError
from reconciler.model.plan import Plan
from reconciler.model.wishes import Location, Wishes

PLAN = Plan("abc", "sha256:1", "shop", "Prefect 3.8.8", ())
WHERE = Location("flows", repo="https://git.example/x", ref="main")
WISHES = Wishes(environment="prod", targets=("block/*",), allow_deletes=3)


def test_a_plan_comes_back_as_it_was_saved(tmp_path, capsys):
    file = tmp_path / "plan.json"
    plans.save(PLAN, WHERE, WISHES, file)
    assert "apply --plan" in capsys.readouterr().err
    saved = plans.load(file)
    assert saved.digest == "sha256:1"
    assert saved.merge(Location(), Wishes()) == (WHERE, WISHES)
    assert json.loads(file.read_text())["format_version"] == 1


def test_the_command_line_goes_before_what_the_plan_remembers(tmp_path):
    file = tmp_path / "plan.json"
    plans.save(PLAN, WHERE, WISHES, file)
    where, wishes = plans.load(file).merge(Location("here"), Wishes(lock_timeout=9.0))
    assert where == Location("here")
    assert (wishes.lock_timeout, wishes.targets) == (9.0, ("block/*",))


@pytest.mark.parametrize("content", ["", "[]", '{"digest": "x"}', '{"made_with": 1}', "\0"])
def test_a_file_that_is_no_plan_is_refused_with_a_way_out(tmp_path, content):
    file = tmp_path / "plan.json"
    file.write_text(content)
    with pytest.raises(UsageError, match="is no saved plan") as caught:
        plans.load(file)
    assert "plan --out" in caught.value.hint


def test_a_folder_is_no_place_for_a_plan(tmp_path):
    with pytest.raises(UsageError, match="can't be saved"):
        plans.save(PLAN, WHERE, WISHES, tmp_path)
    with pytest.raises(UsageError, match="can't be read"):
        plans.load(tmp_path)
