"""Rules of reading manifests that hold for any input."""

import json
from datetime import date

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import InvalidManifests
from reconciler.manifests.load import LoadOptions, load
from reconciler.manifests.marks import Limits, read
from reconciler.manifests.nodes import Places
from reconciler.manifests.resolve import merge_patch
from reconciler.manifests.variables import Scope, substitute
from tests.fakes.manifest_kinds import KINDS
from tests.fakes.trees import tree

LIMITS = Limits(weight=2_000, depth=20)
VALID = "kind: Block\nblock_type_slug: process\nname: p\n"

yamlish = st.text(
    st.sampled_from([*"ab1.-:?,[]{}&*!|>'\"%@`#<=~\n \t$", "\u2028", "\x85", "é", "\ufeff"]),
    max_size=60,
)
pieces = st.sampled_from(
    [
        "kind: Block\n",
        "name: p\n",
        "block_type_slug: s\n",
        "data: ",
        "{",
        "}",
        "[",
        "]",
        "- ",
        "\n",
        "&a ",
        "*a",
        "<<: ",
        "${{ vars.x }}",
        "${{",
        "$${{",
        "}}",
        "---\n",
        "a: 1\n",
        ": ",
        "  ",
        "deployments:\n",
        "reconcile: ",
        "2024-01-01",
        "!!int ",
        "0x",
        "1:1",
        ".inf",
        "~",
        "on: 1\n",
    ]
)
grammar = st.lists(pieces, max_size=25).map("".join)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc.${", min_size=1), inner)
    ),
    max_leaves=12,
)
mappings = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)


def outcome(files, kinds=KINDS):
    try:
        state = load(tree(files), LoadOptions(limits=LIMITS), kinds)
    except InvalidManifests as error:
        return [str(problem) for problem in error.problems]
    return state


@settings(max_examples=150)
@given(data=st.binary(max_size=80) | (yamlish | grammar).map(str.encode))
def test_no_bytes_break_the_reader(data):
    policy = "name: x\nvars: {x: 1}\n"
    for files in (
        {"reconciler.yaml": policy, "a.yaml": data},
        {"reconciler.yaml": data, "a.yaml": VALID},
        {"reconciler.yaml": policy, "prefect.yaml": data, ".reconcilerignore": data},
    ):
        outcome(files)


@settings(max_examples=150)
@given(text=yamlish | grammar)
def test_what_is_read_without_a_flaw_is_what_pyyaml_reads(text):
    content = read(text.encode(), LIMITS)
    if content.flaws or "!" in text.replace("!!", ""):  # libyaml reads `! 1` as a number
        return
    try:
        documents = list(yaml.load_all(text.removeprefix("\ufeff"), Loader=yaml.CSafeLoader))
    except yaml.constructor.ConstructorError:  # `<<` as a value: text to us
        return
    theirs = [value for value in documents if value is not None]
    assert [node.value for node in content.documents] == [
        _dates_as_written(v, text) for v in theirs
    ]


def _dates_as_written(value, text):
    if isinstance(value, date):
        return next(
            (word for word in ["2024-01-01"] if word in text and date.fromisoformat(word) == value),
            value,
        )
    if isinstance(value, dict):
        return {_dates_as_written(k, text): _dates_as_written(v, text) for k, v in value.items()}
    return [_dates_as_written(v, text) for v in value] if isinstance(value, list) else value


@given(value=values, flow=st.booleans(), plain=st.booleans())
def test_whatever_is_dumped_is_read_back(value, flow, plain):
    text = yaml.safe_dump({"v": value}, default_flow_style=flow, allow_unicode=plain)
    content = read(text.encode(), Limits())
    assert not content.flaws
    assert [node.value for node in content.documents] == [{"v": value}]


@given(value=mappings)
def test_the_place_of_an_entry_is_where_its_key_is_written(value):
    text = json.dumps({"r": value}, indent=1, ensure_ascii=True)
    content = read(text.encode(), Limits())
    if content.flaws:  # JSON escapes what YAML does not allow
        return
    (root,) = content.documents
    lines = text.splitlines()
    for path, place in Places("f", root).items():
        written = lines[place.line - 1][place.column - 1 :]
        if path and isinstance(path[-1], str):
            assert written.startswith(json.dumps(path[-1]))


@given(text=yamlish | grammar, order=st.randoms())
def test_loading_is_deterministic_whatever_the_order_of_files(text, order):
    files = [("a.yaml", text), ("b.yaml", VALID), ("c.yaml", VALID.replace("p\n", "q\n"))]
    first = outcome({"reconciler.yaml": "name: x\n", **dict(files)})
    order.shuffle(files)
    second = outcome({**dict(files), "reconciler.yaml": "name: x\n"})
    if isinstance(first, list):
        assert first == second
    else:
        assert (first.digest, first.warnings) == (second.digest, second.warnings)


@given(text=st.lists(st.sampled_from(["$", "{", "}", "${{", "}}", "a", " "])).map("".join))
def test_an_escaped_text_is_left_as_it_was(text):
    escaped = json.dumps(text.replace("${{", "$${{"))
    (root,) = read(f"v: {escaped}".encode(), Limits()).documents
    scope = Scope("f", {}, None)
    assert substitute(root, scope) == {"v": text}
    assert scope.problems == []


@given(value=mappings, patch=mappings)
def test_a_merge_patch_is_idempotent_and_an_empty_one_changes_nothing(value, patch):
    once = merge_patch(value, patch)
    assert merge_patch(once, patch) == once
    assert merge_patch(value, {}) == value
