"""What is written as YAML is read back as the same values, whatever they are."""

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.kinds import KINDS
from reconciler.manifests.load import LoadOptions, load
from reconciler.manifests.writing import write_yaml
from reconciler.model.keys import Key
from reconciler.model.values import MASKED
from tests.fakes.trees import tree

TEXTS = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t"), max_size=40
)
ODD = st.sampled_from(
    [
        "",
        "null",
        "yes",
        "1",
        "1.5",
        "0x1",
        "2026-01-01",
        "~",
        "- a",
        "a: b",
        "#x",
        "${{ vars.x }}",
        "$${{",
        "{{ prefect }}",
        "| a",
        "'",
        '"',
        "a\nb\n",
        " lead",
        "trail ",
        "\n",
        "é☃",
        "<<",
        "!!x",
    ]
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), TEXTS, ODD)
KEYS = st.one_of(TEXTS, ODD).filter(lambda key: "${{" not in key)  # no manifest has such keys
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


def never(path):
    raise AssertionError(path)


@settings(max_examples=300, deadline=None)
@given(TREES)
def test_a_manifest_that_is_written_declares_the_same_value(value):
    document = {"kind": "Variable", "name": "a", "value": value}
    files = {"reconciler.yaml": "name: x\n", "a.yaml": write_yaml(document, never)}
    declared = load(tree(files), LoadOptions(offline=True), KINDS).declarations
    assert declared[Key.of("variable", "a")].fields["value"] == value


def test_where_a_secret_belongs_its_name_is_written():
    document = {"data": {"password": MASKED, "list": [MASKED]}}
    text = write_yaml(document, lambda path: path.upper().replace(".", "_"))
    assert yaml.safe_load(text) == {
        "data": {
            "password": "${{ secrets.DATA_PASSWORD }}",
            "list": ["${{ secrets.DATA_LIST_0 }}"],
        }
    }
