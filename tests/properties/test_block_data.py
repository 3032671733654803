"""Whatever stands in a block's data: one normal form, reached once, and no secret in sight."""

from hypothesis import given
from hypothesis import strategies as st

from reconciler.blocks.data import normalise, secret_paths
from reconciler.blocks.registry import BLOCK_TYPES, settings_of
from reconciler.blocks.typed import check
from reconciler.model.fingerprint import Fingerprinter
from reconciler.model.values import Secret, leaves
from tests.fakes.block_fields import FIELDS

PRINTS = Fingerprinter(b"k")
CANARY = "canary-77"

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6
)


@st.composite
def block_data(draw):
    model = draw(st.sampled_from(BLOCK_TYPES))
    names = draw(st.lists(st.sampled_from(sorted(model.model_fields)), unique=True))
    return model.slug, {
        name: draw(st.sampled_from([FIELDS[model.slug][name]]) | json_values) for name in names
    }


@given(block_data())
def test_normalising_twice_is_normalising_once(made):
    slug, data = made
    once = normalise(slug, data)
    twice = normalise(slug, once)
    assert PRINTS.of(once) == PRINTS.of(twice)
    assert [path for path, _ in leaves(once)] == [path for path, _ in leaves(twice)]


@given(block_data())
def test_a_value_and_the_same_value_as_a_secret_have_one_fingerprint(made):
    """Git may take any value from `secrets`; the server gives it back in the open."""
    slug, data = made
    hidden = {name: Secret(value) for name, value in data.items()}
    assert PRINTS.of(normalise(slug, hidden)) == PRINTS.of(normalise(slug, data))


@given(st.sampled_from(BLOCK_TYPES), st.sampled_from(["str", "list", "dict", "nested"]))
def test_a_secret_is_seen_nowhere(model, form):
    shapes = {
        "str": CANARY,
        "list": [CANARY],
        "dict": {"k": CANARY},
        "nested": {"k": [{"l": CANARY}]},
    }
    data = {name: Secret(shapes[form]) for name in model.model_fields}
    assert CANARY not in repr(list(check(settings_of(model.slug), data)))
    assert CANARY not in repr(normalise(model.slug, data))
    plain = {path.split(".")[0]: shapes[form] for path in secret_paths(model.slug, None)}
    in_the_open = {name: value for name, value in plain.items() if "." not in name}
    fields = {"secret_fields": list(in_the_open)}
    assert CANARY not in repr(normalise(model.slug, in_the_open, fields))
