"""Prefect's `{{ … }}` in prefect.yaml: named variables are filled in, steps and blocks are not."""

import pytest

from reconciler.errors import InvalidManifests
from reconciler.kinds.deployment import Deployment
from reconciler.manifests.load import LoadOptions, load
from tests.fakes.trees import tree

POLICY = "name: p\nvars: {REGION: eu, LIMIT: 5}\n"
HEAD = "push: [{p: {id: push_code}}]\ndeployments:\n  - name: nightly\n    flow_name: etl\n    entrypoint: f.py:f\n"


def state(line):
    text = f"{HEAD}    {line}\n"
    options = LoadOptions(offline=True)
    return load(tree({"reconciler.yaml": POLICY, "prefect.yaml": text}), options, (Deployment(),))


def fields(line):
    declared = state(line).declarations
    return next(one.fields for key, one in declared.items() if key.kind == "deployment")


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("description: in {{ $REGION }}, at most {{$LIMIT}}", "description", "in eu, at most 5"),
        ("tags: ['{{ $REGION }}', b]", "tags", ["eu", "b"]),
        ("parameters: {limit: '{{ $LIMIT }}'}", "parameters", {"limit": 5}),
        ("parameters: {text: '$${{ $LIMIT }}'}", "parameters", {"text": "${{ $LIMIT }}"}),
        (
            "work_pool: {name: k8s, job_variables: {a: '{{ prefect.variables.x }} {{ $REGION }}'}}",
            "job_variables",
            {"a": "{{ prefect.variables.x }} eu"},
        ),
        (
            "work_pool: {name: k8s, job_variables: {a: '{{ ctx.flow_run.id }}'}}",
            "job_variables",
            {"a": "{{ ctx.flow_run.id }}"},
        ),
        (
            "pull: [{git_clone: {branch: '{{ $BRANCH }}', id: clone, out: '{{ step.output }}'}}]",
            "pull_steps",
            [{"git_clone": {"branch": "{{ $BRANCH }}", "id": "clone", "out": "{{ step.output }}"}}],
        ),
    ],
)
def test_a_named_variable_is_filled_in_and_what_a_run_fills_in_stays(line, name, value):
    assert fields(line)[name] == value


def test_what_an_event_gives_to_a_trigger_stays():
    found = state("triggers: [{expect: [a], parameters: {name: '{{ event.name }}'}}]").declarations
    [actions] = [one.fields["actions"] for key, one in found.items() if key.kind == "automation"]
    assert actions[0]["parameters"] == {"name": "{{ event.name }}"}


def test_triggers_of_deployments_that_share_a_name_want_names_of_their_own():
    line = "triggers: [{expect: [a]}]\n  - {name: nightly, flow_name: b, triggers: [{expect: [a]}]}"
    with pytest.raises(InvalidManifests) as caught:
        state(line)
    [problem] = caught.value.problems
    assert "automation/nightly__automation_1 is declared twice" in str(problem)
    assert problem.hint == "give it a name"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("description: '{{ $HOME }}'", "prefect.yaml:6:18: the variable HOME is not defined"),
        ("version: '{{ build-image.tag }}'", "prefect.yaml:6:14: {{ build-image.tag }} is what a"),
        (
            "work_pool: {job_variables: {image: '{{ build-image.image }}'}}",
            "prefect.yaml:6:40: {{ build-image.image }} is what a build or push step would give",
        ),
        ("parameters: {a: '{{ prefect.blocks.secret.x }}'}", "would stay as it is here"),
        ("tags: ['{{ ctx.x }}']", "would stay as it is here"),
        (
            "pull: [{pull_from_s3: {folder: '{{ push_code.folder }}'}}]",
            "prefect.yaml:6:36: {{ push_code.folder }} is what a build or push step would give",
        ),
    ],
)
def test_what_nobody_would_fill_in_is_a_problem_at_its_place(line, said):
    with pytest.raises(InvalidManifests) as caught:
        state(line)
    assert any(said in str(one) for one in caught.value.problems), caught.value.problems
    assert all(one.hint for one in caught.value.problems)
