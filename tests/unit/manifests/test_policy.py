"""`reconciler.yaml`."""

import pytest

from reconciler.manifests.marks import Limits
from reconciler.manifests.policy import read_policy
from reconciler.model.places import Place
from tests.fakes.trees import tree

FULL = """\
name: prod
prune: {enabled: true, max_deletes: 10, max_share: 30%, allow: [block/*]}
drift: report
vars: {region: eu}
secrets: [{env: RECONCILER_SECRET_}, {dir: /run/secrets}]
environments:
  dev: {vars: {region: eu-dev}, patches: [{target: {kind: Deployment}, patch: {paused: true}}]}
agent: {limit: 50}
"""


def read(text):
    return read_policy(tree({"reconciler.yaml": text}), Limits())


def problems(text):
    return [str(problem) for problem in read(text).problems]


def test_the_whole_policy_is_read():
    file = read(FULL)
    assert file.problems == ()
    assert file.policy.prune.max_share == 0.3
    assert file.policy.secrets[1].dir == "/run/secrets"
    assert file.policy.environments["dev"].patches[0].patch == {"paused": True}
    assert file.policy.agent.limit == 50
    assert file.at("environments", "dev", "patches", 0, "nothing") == Place(
        "reconciler.yaml", 7, 43
    )


def test_without_one_it_says_how_to_get_one():
    file = read_policy(tree({"other.yaml": "name: x"}), Limits())
    assert [str(problem) for problem in file.problems] == [
        "reconciler.yaml:1:1: reconciler.yaml is missing (`reconciler init` writes one)"
    ]
    assert file.at("environments") == Place("reconciler.yaml", 1, 1)
    assert file.node("environments") is None


def test_a_huge_one_is_not_read():
    snapshot = tree({"reconciler.yaml": "name: x"}, sizes={"reconciler.yaml": 2_000_000})
    assert "larger than 1,000,000 bytes" in str(read_policy(snapshot, Limits()).problems[0])
    assert snapshot.contents.read_paths == []


@pytest.mark.parametrize("text", ["", "# nothing", "- a", "a", "name: x\n---\nname: y\n"])
def test_it_holds_one_mapping(text):
    assert problems(text) == ["reconciler.yaml:1:1: must hold one mapping (it begins with `name:`)"]


def test_broken_yaml_is_a_problem_at_its_place():
    assert problems("name: x\n\ta")[0].startswith("reconciler.yaml:2:1: not YAML")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "vars: {}",
            "1:1: `name` is missing (Lower-case letters, digits, dashes; the inventory is name + environment.)",
        ),
        ("name: x\nprun: {}", "2:1: unknown key 'prun' (did you mean prune?)"),
        (
            "name: x\nprune: {enable: true}",
            "2:9: unknown key 'enable' (did you mean enabled?)",
        ),
        (
            "name: x\nenvironments: {dev: {var: {}}}",
            "2:22: unknown key 'var' (did you mean vars?)",
        ),
        (
            "name: x\nenvironments: {dev: {patches: [{target: {knd: x}, patch: {}}]}}",
            "2:42: unknown key 'knd' (did you mean kind?)",
        ),
        (
            "name: x\nenvironments: {dev: {patches: [{target: {}}]}}",
            "2:32: `environments.dev.patches.0.patch` is missing",
        ),
        (
            "name: Not OK",
            "1:1: `name` must match pattern '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$' (Lower-case",
        ),
        ("name: 5", "1:1: `name` must be text"),
        ("name: x\ndrift: mend", "2:1: `drift` must be 'heal' or 'report'"),
        (
            "name: x\nprune: {max_share: 130%}",
            "2:9: `prune.max_share` must be less than or equal to 1",
        ),
        (
            "name: x\nprune: {max_share: a%}",
            "2:9: `prune.max_share` could not convert string to float",
        ),
        (
            "name: x\nprune: {max_deletes: -1}",
            "2:9: `prune.max_deletes` must be greater than or equal to 0",
        ),
        ("name: x\nvars: [a]", "2:1: `vars` must be a mapping"),
        ("name: x\nvars: {a: '${{ vars.b }}'}", "2:11: vars.b can't be used here"),
        ("name: x\nvars: {a: '${{ secrets.b }}'}", "2:11: secrets.b can't be used here"),
        (
            "name: x\nenvironments: {d: {vars: {a: '${{ secrets.b }}'}}}",
            "2:30: secrets.b can't be used here",
        ),
        ("name: x\nname: y", "2:1: the key 'name' stands twice in one mapping, first at"),
    ],
)
def test_each_mistake_is_said_at_its_place(text, problem):
    found = problems(text)
    assert found[0].startswith(f"reconciler.yaml:{problem}"), found
    assert len(found) == 1


def test_the_right_half_of_a_wrong_policy_is_used_so_that_the_rest_can_be_checked():
    file = read("nam: x\nvars: {region: eu}\ndrift: mend\n")
    assert len(file.problems) == 3
    assert file.policy.vars == {"region": "eu"}


def test_nodes_are_found_by_path():
    file = read(FULL)
    assert file.node("environments", "dev", "patches", 0, "patch").value == {"paused": True}
    assert file.node("environments", "dev", "patches", 1) is None
    assert file.node("name", "x") is None
