"""Rules about field paths that hold for every tree."""

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.paths import veiled, within
from reconciler.model.values import MASKED, join, leaves

NAMES = st.sampled_from(["A", "AB", "b.c", "__d", "e-f", "$g"])
TREES = st.recursive(
    st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(NAMES, TREES, max_size=3), st.data())
def test_a_veil_hides_what_is_secret_and_nothing_else(fields, data):
    places = sorted(
        {path for name, value in fields.items() for path in _places(value, join("", name))}
    )
    secret = data.draw(
        st.lists(st.sampled_from(places), unique=True, max_size=3) if places else st.just([])
    )
    shown = {name: veiled(value, secret, join("", name)) for name, value in fields.items()}
    assert list(shown) == list(fields)
    kept = dict(_leaves(shown))
    for path, value in _leaves(fields):
        hidden = any(within(path, one) for one in secret)
        assert hidden or kept[path] == value
    assert all(value != MASKED or path in secret for path, value in kept.items())
    assert all(
        not within(path, one) or value == MASKED for path, value in kept.items() for one in secret
    )


def _leaves(fields):
    for name, value in fields.items():
        yield from leaves(value, join("", name))


def _places(value, path):
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, join(path, key))
