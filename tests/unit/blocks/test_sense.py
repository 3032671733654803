"""Fields that are each right and don't go together: said offline, with file, line and field."""

import pytest

from reconciler.blocks.registry import settings_of
from reconciler.blocks.typed import check
from reconciler.model.keys import Key
from reconciler.model.values import MASKED, Ref, Secret

CONTAINER = {"spec": {"template": {"spec": {"containers": [{"name": "prefect-job"}]}}}}
CLOUD_RUN = {
    "image": "europe-docker.pkg.dev/p/r/i:1",
    "region": "europe-west1",
    "credentials": Ref(Key.of("block", "gcp-credentials", "x")),
}
AZURE = {"resource_group_name": "flows", "subscription_id": Secret("s", "S")}


def found(slug, data):
    return [(complaint.path, complaint.message) for complaint in check(settings_of(slug), data)]


@pytest.mark.parametrize(
    ("slug", "data", "path", "words"),
    [
        ("docker-container", {"image": "my image:1"}, ("image",), "'my image:1' is no reference"),
        ("kubernetes-job", {"image": "my image"}, ("image",), "'my image' is no reference"),
        ("ecs-task", {"image": "Upper/Case"}, ("image",), "'Upper/Case' is no reference"),
        ("cloud-run-job", {**CLOUD_RUN, "image": " x"}, ("image",), "' x' is no reference"),
        (
            "docker-container",
            {"networks": ["a"], "network_mode": "host"},
            ("network_mode",),
            "networks and network_mode exclude each other",
        ),
        ("docker-container", {"volumes": ["a:/a", "b"]}, ("volumes", 1), "host path:container"),
        (
            "kubernetes-job",
            {"job": {"apiVersion": "batch/v1", "kind": "Job", "spec": {}}},
            ("job",),
            "spec.template.spec.containers has no container",
        ),
        ("kubernetes-job", {"job": {"kind": "CronJob"}}, ("job",), "kind must be 'Job'"),
        ("kubernetes-job", {"job": {"spec": []}}, ("job",), "spec is no mapping"),
        (
            "kubernetes-job",
            {"customizations": [{"op": "remove", "path": "/a"}, {"op": "swap", "path": "/a"}]},
            ("customizations", 1),
            "customizations[1] is no operation of a JSON patch: Unknown operation 'swap'",
        ),
        (
            "ecs-task",
            {"task_customizations": [{"op": "add", "path": "/a"}]},
            ("task_customizations", 0),
            "task_customizations[0] is no operation of a JSON patch",
        ),
        ("cloud-run-job", {**CLOUD_RUN, "memory": 1}, ("memory",), "needs memory_unit"),
        ("azure-container-instance-job", {**AZURE, "cpu": 0}, ("cpu",), "more than 0"),
        ("azure-container-instance-job", {**AZURE, "gpu_sku": "K80"}, ("gpu_sku",), "each other"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_named(slug, data, path, words):
    [(where, message)] = found(slug, data)
    assert where == path
    assert words in message


def test_a_patch_written_as_text_is_checked_too():
    [(where, message)] = found("kubernetes-job", {"customizations": '[{"op": "nothing"}]'})
    assert where == ("customizations", 0)
    assert "customizations[0]" in message


@pytest.mark.parametrize(
    ("slug", "data"),
    [
        ("docker-container", {"networks": ["a"], "network_mode": MASKED}),
        ("docker-container", {"image": "localhost:5000/a/b:tag", "networks": ["a"]}),
        ("kubernetes-job", {"job": CONTAINER}),
        ("cloud-run-job", {**CLOUD_RUN, "memory": 1, "memory_unit": "Gi"}),
        ("azure-container-instance-job", {**AZURE, "gpu_count": 1, "gpu_sku": "K80"}),
    ],
    ids=str,
)
def test_what_goes_together_or_is_hidden_is_left_alone(slug, data):
    assert found(slug, data) == []


def test_a_wrong_field_is_said_alone():
    [(where, _)] = found("docker-container", {"networks": "a", "network_mode": "host"})
    assert where == ("networks",)
