"""Following a log by its last lines: each line is shown once."""

from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.logswork import unseen


@given(st.lists(st.integers(), unique=True), st.data())
def test_what_follows_the_last_look_is_new(lines, data):
    seen = data.draw(st.integers(0, len(lines)))
    window = data.draw(st.integers(1, 30))
    before, now = lines[:seen][-window:], lines[-window:]
    new = unseen(before, now)
    missed = max(0, len(lines) - seen - window)
    assert list(new) == lines[seen + missed :]


def test_a_log_that_begins_anew_is_shown_whole():
    assert unseen(["a", "b"], ["x", "y"]) == ["x", "y"]
    assert unseen(["a"], []) == []
