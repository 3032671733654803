import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.fingerprint import Fingerprinter
from reconciler.model.keys import Key
from reconciler.model.values import ABSENT, MASKED, Ref, Secret, UnknownRef

PRINT = Fingerprinter(b"k" * 32)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


def strict(value):
    return json.dumps(value, sort_keys=True)


@given(JSON, JSON)
def test_equal_values_and_only_those_have_one_fingerprint(one, two):
    assert (PRINT.of(one) == PRINT.of(two)) == (strict(one) == strict(two))


@given(JSON)
def test_a_secret_has_the_fingerprint_of_its_value(value):
    assert PRINT.of(Secret(value)) == PRINT.of(value)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=5))
def test_the_order_of_keys_does_not_matter(value):
    assert PRINT.of(dict(reversed(value.items()))) == PRINT.of(value)


@given(st.integers(-(2**53), 2**53))
def test_whole_numbers_are_alike_however_they_are_written(number):
    assert PRINT.of(float(number)) == PRINT.of(number)


def test_true_is_not_one():
    assert PRINT.of(True) != PRINT.of(1)
    assert PRINT.of(1.5) != PRINT.of(1)


def test_marks_differ_from_what_they_look_like():
    key = Key.of("block", "s3", "a")
    prints = [
        PRINT.of(v)
        for v in (Ref(key), str(key), UnknownRef("i"), "i", MASKED, "********", ABSENT, None, {})
    ]
    assert len(set(prints)) == len(prints)


@given(JSON)
def test_the_key_matters(value):
    assert Fingerprinter(b"other").of(value) != PRINT.of(value)


def test_nothing_of_the_key_is_printed_and_foreign_types_are_refused():
    assert repr(PRINT) == "Fingerprinter()"
    with pytest.raises(TypeError, match="bytes"):
        PRINT.of(b"x")
