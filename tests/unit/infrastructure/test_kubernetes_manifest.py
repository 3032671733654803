"""The Job of a flow run: every setting, field by field, and what nothing may change."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.blocks.kubernetes import KubernetesJobSettings
from reconciler.infrastructure.base import NotLaunchable
from reconciler.infrastructure.kubernetes.manifest import job_manifest, job_name, labels
from reconciler.model.launch import LaunchSpec

TOKEN = "11111111-1111-8111-8111-111111111111"
API = {"PREFECT_API_URL": "https://prefect.example.com/api", "PREFECT__FLOW_RUN_ID": "run"}
OWN = {"reconciler.io/launch-token": TOKEN, "reconciler.io/flow-run-id": "run"}


def spec(name="nightly", env=None, prefect=None, command=None, **settings):
    settings = KubernetesJobSettings(**settings)
    return LaunchSpec(
        token=TOKEN,
        flow_run_id="run",
        name=name,
        type="kubernetes-job",
        settings=settings,
        env={**API, **(env or {})},
        labels={**(prefect or {}), **settings.labels},
        command=command,
    )


def made(**how):
    return job_manifest(spec(**how), "prefecthq/prefect:3.8.8")


def variables(env):
    return [{"name": name, "value": value} for name, value in env.items()]


def plain(metadata=None, job=None, pod=None, container=None):
    """Return the manifest of a block without settings, with changes."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"nightly-{TOKEN}",
            "namespace": "default",
            "labels": OWN,
            **(metadata or {}),
        },
        "spec": {
            "parallelism": 0,
            "completions": 1,
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": OWN},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [
                        {
                            "name": "prefect-job",
                            "image": "prefecthq/prefect:3.8.8",
                            "args": ["prefect", "flow-run", "execute"],
                            "env": variables(API),
                            **(container or {}),
                        }
                    ],
                    **(pod or {}),
                },
            },
            **(job or {}),
        },
    }


def test_a_block_without_settings():
    assert made() == plain()


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({"image": "etl:1"}, {"container": {"image": "etl:1"}}),
        ({"namespace": "flows"}, {"metadata": {"namespace": "flows"}}),
        ({"service_account_name": "runner"}, {"pod": {"serviceAccountName": "runner"}}),
        ({"image_pull_policy": "Always"}, {"container": {"imagePullPolicy": "Always"}}),
        ({"finished_job_ttl": 90}, {"job": {"ttlSecondsAfterFinished": 90}}),
        (
            {"finished_job_ttl": 0},
            {
                "job": {"ttlSecondsAfterFinished": 60},
                "metadata": {"annotations": {"reconciler.io/discard": "true"}},
            },
        ),
        (
            {"labels": {"my.org/Team": "Data X"}},
            {"metadata": {"labels": {"my.org/Team": "data-x", **OWN}}},
        ),
    ],
    ids=str,
)
def test_a_setting_changes_its_own_part(settings, changed):
    assert made(**settings) == plain(**changed)


def test_the_command_is_the_arguments_of_the_image():
    assert made(command=("python", "x.py")) == plain(container={"args": ["python", "x.py"]})


def test_a_variable_that_is_null_is_not_set():
    assert made(env={"A": None, "B": "2"}) == plain(container={"env": variables({**API, "B": "2"})})


JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"namespace": "flows", "labels": {"mine": "yes"}, "annotations": {"a": "b"}},
    "spec": {
        "backoffLimit": 2,
        "template": {
            "spec": {
                # where Prefect's base manifest has them
                "parallelism": 1,
                "completions": 1,
                "restartPolicy": "Never",
                "nodeSelector": {"disk": "ssd"},
                "containers": [
                    {"name": "prefect-job", "image": "own:1", "env": [{"name": "X", "value": "x"}]}
                ],
            }
        },
    },
}


def test_the_blocks_manifest_is_kept_where_no_setting_says_otherwise():
    metadata = made(job=JOB)["metadata"]
    assert metadata["namespace"] == "flows"
    assert metadata["labels"] == {"mine": "yes", **OWN}
    assert metadata["annotations"] == {"a": "b"}
    pod = made(job=JOB)["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["containers"][0]["image"] == "own:1"
    assert pod["containers"][0]["env"] == variables({"X": "x", **API})
    assert "parallelism" not in pod
    assert made(job=JOB)["spec"]["parallelism"] == 0, "no pod before it is told to start"
    assert made(job=JOB)["spec"]["backoffLimit"] == 2


def test_the_blocks_own_manifest_is_not_changed():
    before = json.dumps(JOB)
    made(job=JOB, namespace="other", image="other:1")
    assert json.dumps(JOB) == before


def test_a_setting_wins_over_the_manifest():
    manifest = made(job=JOB, namespace="other", image="other:1")
    assert manifest["metadata"]["namespace"] == "other"
    assert manifest["spec"]["template"]["spec"]["containers"][0]["image"] == "other:1"


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (
            {"spec": {"template": {"spec": {}}}},
            "job: spec.template.spec.containers has no container",
        ),
        ({"spec": {"template": {"spec": {"containers": []}}}}, "has no container"),
        ({"spec": {"template": {"spec": {"containers": ["x"]}}}}, "has no container"),
        ({"spec": {"template": {"spec": {"containers": [{"name": "x"}]}}}}, "named 'prefect-job'"),
        ({"kind": "Deployment"}, "job: kind must be 'Job'"),
        ({"apiVersion": "v1"}, "job: apiVersion must be 'batch/v1'"),
        ({"spec": "x"}, "job: spec is no mapping"),
        ({"spec": {"template": []}}, "job: spec.template is no mapping"),
        ({"metadata": {"labels": 3}}, "job: metadata.labels is no mapping"),
        ({"spec": {"completions": 2}}, "spec.completions must be 1"),
        ({"spec": {"template": {"spec": {"completions": 2}}}}, "spec.completions must be 1"),
        (
            {"spec": {"template": {"spec": {"restartPolicy": "OnFailure"}}}},
            "restartPolicy must be 'Never' .a flow run must not run twice",
        ),
    ],
    ids=str,
)
def test_a_manifest_that_can_run_no_flow_is_named_with_the_place(job, words):
    with pytest.raises(NotLaunchable, match=words):
        made(job=job)


def test_customizations_are_applied_in_order():
    ops = [
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "add", "path": "/metadata/annotations/a", "value": "b"},
        {
            "op": "add",
            "path": "/spec/template/spec/containers/0/env/-",
            "value": {"name": "E", "value": "e"},
        },
    ]
    expected = plain(
        metadata={"annotations": {"a": "b"}}, container={"env": variables({**API, "E": "e"})}
    )
    assert made(customizations=ops) == expected
    assert made(customizations=json.dumps(ops)) == expected


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (
            {"op": "replace", "path": "/spec/nothing", "value": 1},
            r"\[1\] \(replace /spec/nothing\): there is no such place",
        ),
        ({"op": "remove", "path": "/metadata/none"}, r"\[1\] \(remove /metadata/none\)"),
        (
            {"op": "test", "path": "/kind", "value": "Pod"},
            r"\[1\] \(test /kind\): the value there is another",
        ),
        ({"op": "spin", "path": "/kind"}, r"\[1\] is no operation of a JSON patch"),
        ({"path": "/kind"}, r"\[1\] is no operation"),
        ({"op": "add", "path": "kind", "value": 1}, r"\[1\] is no operation"),
        ({"op": "replace", "path": "", "value": []}, "they leave no manifest"),
        (
            {"op": "replace", "path": "/spec/completions", "value": 3},
            "customizations: spec.completions must be 1",
        ),
        (
            {"op": "remove", "path": "/spec/template/spec/containers/0"},
            "customizations: .* has no container",
        ),
        ({"op": "replace", "path": "/spec/template", "value": 3}, "customizations: "),
    ],
    ids=str,
)
def test_an_operation_that_cannot_be_applied_is_named_with_the_reason(operation, words):
    fine = {"op": "add", "path": "/metadata/annotations", "value": {}}
    with pytest.raises(NotLaunchable, match=words):
        made(customizations=[fine, operation])


def test_no_fault_of_a_customization_shows_the_manifest():
    operation = {"op": "remove", "path": "/spec/template/spec/containers/0/env/99/x"}
    with pytest.raises(NotLaunchable) as told:
        made(customizations=[operation], env={"PREFECT_API_KEY": "canary"})
    assert "canary" not in str(told.value)


def test_a_customization_that_replaces_the_environment_keeps_what_the_run_needs():
    """prefect#7434: the run's id was lost, and the pod did nothing."""
    env = [{"name": "ONLY", "value": "this"}]
    operation = {"op": "replace", "path": "/spec/template/spec/containers/0/env", "value": env}
    container = made(customizations=[operation], env={"OTHER": "x"})["spec"]["template"]["spec"][
        "containers"
    ][0]
    told = {one["name"]: one["value"] for one in container["env"]}
    assert told == {"ONLY": "this", **API}


@pytest.mark.parametrize("path", ["/metadata/name", "/metadata/generateName"])
def test_no_customization_changes_which_launch_it_is(path):
    operation = {"op": "add", "path": path, "value": "x"}
    assert made(customizations=[operation]) == plain()


@given(st.text(), st.uuids())
def test_every_name_makes_a_job_name_that_kubernetes_takes(name, token):
    told = job_name(spec(name=name or "x")).replace(TOKEN, str(token))
    assert len(told) <= 63
    assert told.endswith(str(token))
    assert all(one in "abcdefghijklmnopqrstuvwxyz0123456789-" for one in told)
    assert told[0].isalnum()


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_labels_have_only_characters_that_kubernetes_takes(given_labels):
    for key, value in labels(given_labels).items():
        assert len(value) <= 63
        assert value == "" or (value[0].isalnum() and value[-1].isalnum())
        prefix, _, name = key.rpartition("/")
        assert len(name) <= 63
        assert len(prefix) <= 253


def test_prefects_labels_are_taken_as_by_prefect():
    told = labels({"prefect.io/deployment-updated": "2026-11-27T07:08:09.123456Z"})
    assert told == {"prefect.io/deployment-updated": "2026-11-27t07-08-09.123456z"}
