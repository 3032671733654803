"""`--env`: variables, patches and folders of an environment."""

import pytest

from reconciler.errors import InvalidManifests
from reconciler.manifests.load import LoadOptions, load
from reconciler.manifests.resolve import merge_patch
from reconciler.model.keys import Key
from reconciler.model.places import Place
from tests.fakes.manifest_kinds import KINDS
from tests.fakes.trees import tree

POLICY = """\
name: example
vars: {region: eu, size: {cpu: 1, memory: 2}}
environments:
  dev:
    vars: {region: eu-dev, size: {cpu: null, memory: 4}}
    paths: [./envs/dev/]
    patches:
      - target: {kind: Deployment}
        patch: {paused: true, parameters: {a: 2, b: null}}
      - target: {key: block/*/etl}
        patch:
          data: {image: "x:${{ vars.region }}"}
  prod:
    paths: [envs/prod]
"""
FILES = {
    "reconciler.yaml": POLICY,
    "a.yaml": "kind: Block\nblock_type_slug: docker\nname: etl\ndata: {image: x, env: {A: 1}}\n",
    "b.yaml": "flow_name: f\nname: n\nparameters: {a: 1, b: 2, r: '${{ vars.region }}'}\ntags: [t]\n",
    "envs/dev/c.yaml": "kind: Block\nblock_type_slug: docker\nname: dev\n",
    "envs/prod/c.yaml": "kind: Block\nblock_type_slug: docker\nname: prod\n",
}
ETL, FLOW = Key.of("block", "docker", "etl"), Key.of("deployment", "f", "n")


def loaded(environment, files=FILES):
    return load(tree(files), LoadOptions(environment=environment), KINDS)


def problems(environment, files):
    with pytest.raises(InvalidManifests) as caught:
        loaded(environment, files)
    return [str(problem) for problem in caught.value.problems]


def test_without_one_the_base_is_taken_and_no_environments_folder():
    state = loaded(None)
    assert set(state.declarations) == {ETL, FLOW}
    assert state.declarations[FLOW].fields["parameters"] == {"a": 1, "b": 2, "r": "eu"}


def test_an_environment_merges_variables_patches_documents_and_adds_its_folder():
    state = loaded("dev")
    assert set(state.declarations) == {ETL, FLOW, Key.of("block", "docker", "dev")}
    assert state.declarations[FLOW].fields["parameters"] == {"a": 2, "r": "eu-dev"}
    assert state.declarations[FLOW].fields["paused"] is True
    assert state.declarations[ETL].fields["data"] == {"image": "x:eu-dev", "env": {"A": 1}}
    assert state.policy.vars == {"region": "eu-dev", "size": {"memory": 4}}
    assert set(loaded("prod").declarations) == {ETL, FLOW, Key.of("block", "docker", "prod")}


def test_what_a_patch_gives_is_placed_in_the_policy_and_the_rest_stays():
    declared = loaded("dev").declarations[FLOW]
    assert declared.at("paused") == Place("reconciler.yaml", 9, 17)
    assert declared.at("parameters.a") == Place("reconciler.yaml", 9, 44)
    assert declared.at("parameters.r") == Place("b.yaml", 3, 26)
    assert declared.at("parameters") == Place("b.yaml", 3, 1)


@pytest.mark.parametrize(
    ("target", "selected"),
    [
        ("{}", {ETL, FLOW}),
        ("{kind: Block}", {ETL}),
        ("{tag: t}", {FLOW}),
        ("{tag: u}", set()),
        ("{key: deployment/*}", {FLOW}),
        ("{key: '*/etl', kind: Block}", {ETL}),
        ("{key: '*/etl', kind: Deployment}", set()),
    ],
)
def test_every_word_of_a_target_must_fit(target, selected):
    policy = f"name: x\nenvironments: {{e: {{patches: [{{target: {target}, patch: {{version: v}}}}]}}}}\n"
    files = {
        "reconciler.yaml": policy,
        "a.yaml": FILES["a.yaml"],
        "b.yaml": "flow_name: f\nname: n\ntags: [t]\n",
    }
    if ETL in selected:  # a block has no version: the patched document is checked like any other
        assert "a.yaml" in str(problems("e", files)) or "reconciler.yaml" in str(
            problems("e", files)
        )
        return
    state = loaded("e", files)
    changed = {key for key, d in state.declarations.items() if "version" in d.fields}
    assert changed == selected
    assert [str(w) for w in state.warnings] == (
        []
        if selected
        else [f"{state.warnings[0].place}: the patch selects no document (check its target)"]
    )


def test_a_wrong_patch_is_reported_where_it_stands():
    files = {**FILES, "reconciler.yaml": POLICY.replace("paused: true", "pausd: true")}
    assert problems("dev", files) == [
        "reconciler.yaml:9:17: unknown key 'pausd' (did you mean paused?)"
    ]


def test_patches_may_set_options():
    policy = (
        "name: x\nenvironments: {e: {patches:"
        " [{target: {kind: Block}, patch: {reconcile: {prune: false}}}]}}\n"
    )
    state = loaded("e", {"reconciler.yaml": policy, "a.yaml": FILES["a.yaml"]})
    assert state.declarations[ETL].options.prune is False


def test_an_unknown_environment_names_the_known_ones():
    assert problems("deb", FILES) == [
        "reconciler.yaml:3:1: there is no environment 'deb' (did you mean dev?)"
    ]
    assert problems("zzz", FILES) == [
        "reconciler.yaml:3:1: there is no environment 'zzz' (known environments: dev, prod)"
    ]
    assert problems("dev", {"reconciler.yaml": "name: x\n"}) == [
        "reconciler.yaml:1:1: there is no environment 'dev' (define it below `environments:`)"
    ]


def test_a_secret_in_a_patch_is_a_problem():
    files = {**FILES, "reconciler.yaml": POLICY.replace("${{ vars.region }}", "${{ secrets.x }}")}
    assert problems("dev", files) == [
        "reconciler.yaml:12:25: secrets.x can't be used here (this must be readable)"
    ]


@pytest.mark.parametrize(
    ("value", "patch", "result"),
    [
        # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_follow_rfc_7396(value, patch, result):
    assert merge_patch(value, patch) == result
