"""What a document is: ours, somebody else's, or a mistake."""

import pytest

from reconciler.errors import InvalidManifests
from reconciler.manifests.documents import Reader
from reconciler.manifests.load import LoadOptions, load
from reconciler.manifests.marks import Limits, read
from reconciler.model.keys import Key
from reconciler.model.places import Place
from tests.fakes.manifest_kinds import KINDS, FakeDeployment
from tests.fakes.trees import tree

PROJECT = """\
name: project
prefect-version: 3.8.8
pull:
  - step: {id: "${{ vars.x }}"}
definitions: {tags: &tags [a]}
deployments:
  - flow_name: f
    name: inherits
    pull: null
    tags: *tags
  - {flow_name: f, name: own, pull: [{b: 1}]}
  - {name: null, entrypoint: null, work_pool: {name: null}}
"""


def drafts(text, file="x.yaml", kinds=KINDS):
    problems = []
    reader = Reader(kinds, problems)
    found = [
        draft
        for root in read(text.encode(), Limits()).documents
        for draft in reader.drafts(file, root)
    ]
    return [(draft.kind.name, draft.shape) for draft in found], [str(p) for p in problems]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("kind: Block", "Block"),
        ("kind: Deployment", "Deployment"),
        ("block_type_slug: s\nname: n", "Block"),
        ("flow_name: f\nname: n", "Deployment"),
    ],
)
def test_the_kind_is_named_or_told_by_the_shape(text, kind):
    assert drafts(text) == ([(kind, "native")], [])


def test_the_file_of_prefect_deployment_build_is_recognised():
    assert drafts("name: n\nflow_name: f\nmanifest_path: null\ntimestamp: '2026'") == (
        [("Deployment", "prefect-deployment")],
        [],
    )


@pytest.mark.parametrize(
    "text", ["apiVersion: apps/v1\nkind: Deployment", "apiVersion: v1", "apiVersion: x\nkind: Foo"]
)
def test_somebody_elses_document_is_passed_over(text):
    assert drafts(text) == ([], [])


@pytest.mark.parametrize("text", ["[a]", "text", "3", "services: {}", "deployments: []\nother: 1"])
def test_a_document_of_no_known_shape_is_a_warning(text):
    found, (problem,) = drafts(text)
    assert found == []
    assert problem == (
        "x.yaml:1:1: no known kind of document (add `kind:`, or name the file in .reconcilerignore)"
    )


def test_a_shape_of_two_kinds_is_a_problem():
    _, (problem,) = drafts("block_type_slug: s\nflow_name: f\nname: n")
    assert problem == "x.yaml:1:1: this could be Block and Deployment (add `kind:`)"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kind: deployment", "x.yaml:1:1: unknown kind 'deployment' (did you mean Deployment?)"),
        ("a: 1\nkind: X", "x.yaml:2:1: unknown kind 'X' (known kinds: Block, Deployment)"),
        ("kind:", "x.yaml:1:1: unknown kind 'null' (known kinds: Block, Deployment)"),
        ("kind: true", "x.yaml:1:1: unknown kind 'true' (known kinds: Block, Deployment)"),
    ],
)
def test_an_unknown_kind_is_a_problem(text, problem):
    assert drafts(text) == ([], [problem])


def test_a_project_gives_one_document_for_each_deployment():
    policy = "name: x\nvars: {x: 7}\n"
    state = load(tree({"reconciler.yaml": policy, "p/prefect.yaml": PROJECT}), LoadOptions(), KINDS)
    inherits = state.declarations[Key.of("deployment", "f", "inherits")]
    assert inherits.fields == {"pull": [{"step": {"id": 7}}], "tags": ["a"]}
    assert inherits.place == Place("p/prefect.yaml", 7, 5)
    assert inherits.at("pull") == Place("p/prefect.yaml", 3, 1)
    assert inherits.at("tags.0") == Place("p/prefect.yaml", 5, 28)
    own = state.declarations[Key.of("deployment", "f", "own")]
    assert own.fields == {"pull": [{"b": 1}]}
    assert len(state.declarations) == 2
    assert state.warnings == ()


@pytest.mark.parametrize(
    "text", ["name: p", "name: p\ndeployments:", "name: p\ndeployments: []", "pull: []"]
)
def test_a_project_without_deployments_is_no_mistake(text):
    assert drafts(text, "prefect.yaml") == ([], [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("deployments: {}", "prefect.yaml:1:14: `deployments` must be a list (- name: …)"),
        ("deployments: [3]", "prefect.yaml:1:15: a deployment must be a mapping (- name: …)"),
    ],
)
def test_a_broken_project_is_a_problem(text, problem):
    assert drafts(text, "prefect.yaml") == ([], [problem])


def test_without_a_kind_for_deployments_a_project_declares_nothing():
    blocks = [kind for kind in KINDS if not isinstance(kind, FakeDeployment)]
    assert drafts("deployments: [{name: n}]", "prefect.yaml", blocks) == ([], [])


def test_documents_of_one_file_are_all_read():
    text = "kind: Block\n---\napiVersion: v1\n---\nkind: Deployment\n"
    assert drafts(text) == ([("Block", "native"), ("Deployment", "native")], [])


def test_a_source_that_fails_is_not_hidden():
    class Broken:
        def read(self, file):
            raise OSError(file.path)

    snapshot = tree({"reconciler.yaml": "name: x\n"})
    broken = type(snapshot)(
        snapshot.revision, snapshot.digest, snapshot.files, snapshot.origin, Broken()
    )
    with pytest.raises(OSError, match=r"reconciler\.yaml"):
        load(broken, LoadOptions(), KINDS)


def test_a_tree_without_files_has_no_policy():
    with pytest.raises(InvalidManifests):
        load(tree({}), LoadOptions(), KINDS)
