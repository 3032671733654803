"""Names of files that must not be taken from a tree."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.source.tree import name_problem

BAD = [b"", b".", b"..", b".git", b".GIT", b".Git"]
PARTS = st.sampled_from([*BAD, b"a", b"a.git", b".github", b"...", b".git\n", b"..\n", b" "])


@given(st.lists(PARTS, min_size=1, max_size=4))
@example([b"a", b"..\n"])
@example([b".git\n", b"config"])
def test_a_name_is_refused_exactly_if_a_part_of_it_leads_elsewhere(parts):
    refused = any(part.lower() in BAD for part in parts)
    assert (name_problem(b"/".join(parts)) is not None) is refused


@pytest.mark.parametrize("name", [b"caf\xe9.yaml", b"\xff/a"])
def test_a_name_that_is_no_text_is_refused(name):
    assert name_problem(name) == "its name is not UTF-8"
