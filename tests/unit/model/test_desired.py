import pytest
from pydantic import ValidationError

from reconciler.model.desired import Declaration, Document
from reconciler.model.keys import Key
from reconciler.model.places import Place
from reconciler.model.policy import Policy
from reconciler.model.problems import Problem


def test_a_path_without_a_place_takes_the_nearest_around_it():
    start, env = Place("a.yaml", 1, 1), Place("a.yaml", 5, 3)
    declaration = Declaration(Key.of("block", "x", "y"), {}, start, {"data.env": env})
    assert declaration.at("data.env.A") == env
    assert declaration.at('data.env["a.b"]') == env
    assert declaration.at("data.image") == start
    document = Document({}, start, {("a", 0): env})
    assert document.at("a", 0, "b") == env
    assert document.at("b") == start


def test_problems_read_as_file_line_column_message_and_hint():
    problem = Problem(Place("a.yaml", 2, 3), "is wrong", "mend it")
    assert str(problem) == "a.yaml:2:3: is wrong (mend it)"
    assert str(Problem(Place("a.yaml"), "is wrong")) == "a.yaml: is wrong"


@pytest.mark.parametrize(("written", "read"), [("30%", 0.3), (0.5, 0.5), ("0 %", 0.0)])
def test_shares_are_written_as_percent_or_as_fraction(written, read):
    assert Policy(name="x", prune={"max_share": written}).prune.max_share == pytest.approx(read)


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-"])
def test_names_of_inventories_are_those_that_prefect_takes_for_blocks(name):
    with pytest.raises(ValidationError):
        Policy(name=name)
