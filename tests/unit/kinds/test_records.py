"""Documents of the kinds of plain records: every problem at once, with place and hint."""

import pytest

from reconciler.errors import InvalidManifests
from reconciler.kinds import KINDS
from reconciler.manifests.load import LoadOptions, load
from reconciler.model.keys import Key
from tests.fakes.trees import tree

POLICY = {"reconciler.yaml": "name: x\n"}


def problems(text):
    with pytest.raises(InvalidManifests) as caught:
        load(tree({**POLICY, "a.yaml": text}), LoadOptions(offline=True), KINDS)
    return [str(problem) for problem in caught.value.problems]


def declared(text):
    return load(tree({**POLICY, "a.yaml": text}), LoadOptions(offline=True), KINDS).declarations


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("kind: Variable\nname: a\n", ["a.yaml:1:1: a Variable needs value"]),
        ("kind: Variable\nvalue: a\n", ["a.yaml:1:1: a Variable needs name"]),
        (
            "kind: Variable\nname: My Region\nvalue: a\n",
            ["a.yaml:2:1: name may hold lower-case letters", "for example my_region"],
        ),
        ("kind: Variable\nname: 1\nvalue: a\n", ["a.yaml:2:1: name must be text"]),
        (
            "kind: Variable\nname: a\nvalue: b\ntgas: [x]\n",
            ["a.yaml:4:1: a Variable has no key 'tgas'", "did you mean tags?"],
        ),
        (
            "kind: Variable\nname: a\nvalue: b\ntags: [1, x]\n",
            ["a.yaml:4:8: tags.0 must be text"],
        ),
        ("kind: ConcurrencyLimit\nlimit: 1\n", ["a.yaml:1:1: a ConcurrencyLimit needs either"]),
        (
            "kind: ConcurrencyLimit\nname: a\ntag: b\nlimit: 1\n",
            ["a.yaml:3:1: a ConcurrencyLimit needs either name or tag"],
        ),
        (
            "kind: ConcurrencyLimit\nname: a\nlimit: -1\n",
            ["a.yaml:3:1: limit must be greater than or equal to 0"],
        ),
        (
            "kind: ConcurrencyLimit\ntag: a\nlimit: 1\nactive: true\n",
            ["a.yaml:4:1: a tag limit has no key 'active'"],
        ),
        ("kind: ConcurrencyLimit\ntag: a/b\nlimit: 1\n", ["a.yaml:2:1: tag may not hold /"]),
        (
            "kind: ConcurrencyLimit\nname: deployment:1\nlimit: 1\n",
            ["nor begin with tag: or deployment:"],
        ),
        ("kind: WorkPool\nname: a\n", ["a.yaml:1:1: a WorkPool needs type"]),
        ("kind: WorkPool\nname: a/b\ntype: x\n", ["a.yaml:2:1: name may not hold /"]),
        ("kind: WorkPool\nname: Prefect x\ntype: x\n", ["names beginning with Prefect"]),
        (
            "kind: WorkPool\nname: a\ntype: x\nbase_job_template: {job_configuration: {}}\n",
            ["a.yaml:4:1: a job template needs variables"],
        ),
        (
            (
                "kind: WorkPool\nname: a\ntype: x\nbase_job_template:\n"
                "  job_configuration:\n    command: '{{ comand }}'\n"
                "  variables: {properties: {command: {type: string}}}\n  other: 1\n"
            ),
            [
                "a.yaml:6:5: the job template uses the variable comand",
                "did you mean command?",
                "a.yaml:8:3: a job template has no part 'other'",
            ],
        ),
        ("kind: Flow\nname: a/b\n", ["a.yaml:2:1: name may not hold /"]),
        ("kind: WorkQueue\nname: a\n", ["a.yaml:1:1: a WorkQueue needs work_pool_name"]),
        (
            "kind: WorkQueue\nwork_pool_name: p\nname: a\npriority: 0\n",
            ["a.yaml:4:1: priority must be greater than or equal to 1"],
        ),
        (
            "kind: WorkQueue\nwork_pool_name: p\nname: a\nis_paused: maybe\n",
            ["a.yaml:4:1: is_paused must be true or false"],
        ),
    ],
)
def test_each_mistake_is_said_with_its_place(text, wanted):
    said = "\n".join(problems(text))
    for words in wanted:
        assert words in said


def test_documents_become_declarations_in_their_normal_form():
    found = declared(
        "kind: Variable\nname: a\nvalue: {k: [1, null]}\n"
        "---\nkind: ConcurrencyLimit\nname: Data base\nlimit: 1\nslot_decay_per_second: 2\n"
        "---\nkind: ConcurrencyLimit\ntag: slow\nlimit: 3\n"
        "---\nkind: WorkPool\nname: My pool\ntype: process\n"
        "---\nkind: WorkQueue\nwork_pool_name: My pool\nname: fast\npriority: 2\n"
    )
    assert {key: dict(one.fields) for key, one in found.items()} == {
        Key.of("variable", "a"): {"value": {"k": [1, None]}},
        Key.of("concurrency-limit", "global:Data base"): {"limit": 1, "slot_decay_per_second": 2.0},
        Key.of("concurrency-limit", "tag:slow"): {"limit": 3},
        Key.of("work-pool", "My pool"): {"type": "process"},
        Key.of("work-queue", "My pool", "fast"): {"priority": 2},
    }


def test_a_secret_in_a_variable_stays_one():
    text = "kind: Variable\nname: a\nvalue: 'x ${{ secrets.TOKEN }}'\n"
    files = {**POLICY, "a.yaml": text, "reconciler.yaml": "name: x\nsecrets: [{env: S_}]\n"}
    options = LoadOptions(secret_env={"S_TOKEN": "canary"})
    [one] = load(tree(files), options, KINDS).declarations.values()
    assert "canary" not in repr(one)
    assert one.fields["value"].reveal() == "x canary"
