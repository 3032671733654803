"""Secret fields stay secret, in the same leaves on both sides."""

import pytest

from reconciler.blocks.concealed import STARS, conceal, starred
from reconciler.model.keys import Key
from reconciler.model.values import MASKED, Ref, Secret, UnknownRef, leaves, revealed, rewrap

REF = Ref(Key.of("block", "docker-registry", "r"))


def test_a_field_a_nested_field_and_a_wildcard_are_wrapped():
    data = {"a": "1", "b": {"c": "2", "d": 3}, "w": {"x": {"y": 4}, "z": 5}, "plain": 6}
    made = conceal(data, ["a", "b.c", "w.*"])
    assert repr(made) == (
        "{'a': <secret>, 'b': {'c': <secret>, 'd': 3}, 'w': <secret>, 'plain': 6}"
    )
    assert revealed(made) == data


@pytest.mark.parametrize("value", [STARS, {"k": STARS, "l": STARS}, {"k": {"m": STARS}}])
def test_eight_stars_become_masked(value):
    assert conceal({"a": value}, ["a.*"]) == {"a": MASKED}


@pytest.mark.parametrize("value", [None, MASKED, REF, UnknownRef("1")])
def test_what_is_no_secret_value_passes(value):
    assert conceal({"a": value}, ["a"]) == {"a": value}


def test_a_path_that_leads_nowhere_is_fine():
    data = {"a": REF, "b": "text"}
    assert conceal(data, ["a.password", "b.c.d", "missing", "also.missing.*"]) == data


def test_a_wildcard_field_has_the_same_leaves_whether_it_came_whole_or_in_parts():
    whole = conceal({"w": Secret({"x": 1, "y": 2})}, ["w.*"])
    parts = conceal({"w": {"x": 1, "y": Secret(2)}}, ["w.*"])
    assert [path for path, _ in leaves(whole)] == [path for path, _ in leaves(parts)] == ["w"]
    assert revealed(whole) == revealed(parts)


def test_wrapping_twice_is_wrapping_once():
    once = conceal({"a": "1"}, ["a"])
    assert conceal(once, ["a"])["a"] is once["a"]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"a": STARS}, ["a"]),
        ({"a": Secret(STARS)}, ["a"]),
        ({"w": {"k": STARS}}, ["w"]),
        ({"w": Secret({"k": [STARS]})}, ["w"]),
        ({"a": "****", "plain": STARS, "w": None}, []),
        ({"w": REF}, []),
    ],
)
def test_stars_are_found_at_secret_fields_only(data, found):
    assert list(starred(data, ["a", "w.*"])) == found


def test_what_was_secret_is_secret_in_the_normalised_copy():
    original = {"a": Secret(1), "b": [2, Secret(3)], "c": {"d": Secret(4)}, "e": 5}
    plain = {"a": "1", "b": ["2", "3"], "c": {"d": "4"}, "e": "5"}
    made = rewrap(original, plain)
    assert repr(made) == ("{'a': <secret>, 'b': ['2', <secret>], 'c': {'d': <secret>}, 'e': '5'}")
    assert revealed(made) == plain


def test_a_changed_shape_that_held_a_secret_is_secret_as_a_whole():
    assert repr(rewrap([Secret(1)], [1, 2])) == "<secret>"
