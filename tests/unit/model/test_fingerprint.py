"""Two values have one fingerprint exactly if Prefect would take them for the same."""

from collections import OrderedDict
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.fingerprint import Fingerprinter, same
from reconciler.model.keys import Key
from reconciler.model.values import ABSENT, MASKED, Ref, Secret, UnknownRef

PRINTS = Fingerprinter(b"key")
REF = Ref(Key.of("block", "process", "a"))

scalars = st.sampled_from(
    [None, True, False, 0, 1, 1.0, 0.5, "", "1", "a", "ä", REF, UnknownRef("1"), MASKED, ABSENT]
)
values = st.recursive(
    scalars | scalars.filter(lambda v: isinstance(v, str)).map(Secret),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=4,
)


def told_apart(value):
    """The same rule in other words: a value in which Python's equality is Prefect's."""
    match value:
        case Secret():
            return told_apart(value.reveal())
        case dict():
            return "mapping", frozenset((key, told_apart(inner)) for key, inner in value.items())
        case list():
            return "list", tuple(map(told_apart, value))
        case bool() | str() | None:
            return type(value).__name__, value
        case int() | float():
            return "number", float(value)
        case _:
            return type(value).__name__, repr(value)


@given(values, values)
@settings(max_examples=500)
def test_what_is_the_same_has_one_fingerprint_and_what_is_not_has_two(before, after):
    alike = told_apart(before) == told_apart(after)
    assert same(before, after) is alike
    assert (PRINTS.of(before) == PRINTS.of(after)) is alike


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": [2]}, {"b": (2,), "a": 1.0}),
        (Secret("x"), "x"),
        ({"a": Secret({"b": 1})}, OrderedDict(a=MappingProxyType({"b": 1}))),
    ],
)
def test_the_same_in_other_words(one, other):
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (True, 1),
        (0, False),
        (None, ABSENT),
        ("1", 1),
        (MASKED, "********"),
        (REF, "block/process/a"),
        ([1, 2], [2, 1]),
        ({}, []),
        ({"a": None}, {}),
    ],
)
def test_what_only_looks_the_same(one, other):
    assert not same(one, other)


def test_another_key_makes_other_fingerprints_and_absence_has_its_own():
    assert Fingerprinter(b"other").of("a") != PRINTS.of("a")
    assert PRINTS.absent == PRINTS.of(ABSENT) != PRINTS.of(None)
