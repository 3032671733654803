"""The requests of the ECS launcher, field by field; rules of facts/infrastructure-blocks.md."""

import pytest

from reconciler.blocks.aws import AwsClientParameters, EcsTaskSettings
from reconciler.infrastructure.base import NotLaunchable
from reconciler.infrastructure.ecs.client import client_options
from reconciler.infrastructure.ecs.definition import digest, prepare, same
from reconciler.infrastructure.ecs.request import (
    cluster_of,
    needs_subnets,
    network_of,
    parse_pid,
    pid_of,
    run_task,
    tags,
)
from reconciler.model.launch import LaunchSpec

TOKEN = "11111111-1111-8111-8111-111111111111"
IMAGE = "prefecthq/prefect:3.8.8-python3.11"
ROLE = "arn:aws:iam::123456789012:role/execution"
LABELS = {"prefect.io/flow-name": "My Flow", "prefect.io/deployment-name": "Daily Load"}


def spec(env=None, command=None, labels=None, name="quick-fox", **settings):
    return LaunchSpec(
        token=TOKEN,
        flow_run_id="run-1",
        name=name,
        type="ecs-task",
        settings=EcsTaskSettings(**settings),
        env=env or {},
        labels=LABELS if labels is None else labels,
        command=command,
    )


def made(base=None, region="eu-west-1", **how):
    return prepare(spec(**how), base, IMAGE, region)


def flow(definition):
    [container] = [c for c in definition["containerDefinitions"] if c["name"] == "prefect"]
    return container


def request(definition=None, network=None, **how):
    return run_task(spec(**how), "arn:definition", definition or made(**how), network)


def test_the_whole_default_definition():
    assert made() == {
        "family": "prefect__my-flow__daily-load",
        "containerDefinitions": [{"name": "prefect", "image": IMAGE}],
        "cpu": "1024",
        "memory": "2048",
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
    }


def test_the_whole_default_request():
    network = network_of(EcsTaskSettings(), ["subnet-a"])
    assert request(network=network, env={"A": "1", "B": None}) == {
        "taskDefinition": "arn:definition",
        "count": 1,
        "clientToken": TOKEN,
        "startedBy": TOKEN,
        "launchType": "FARGATE",
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": ["subnet-a"],
                "assignPublicIp": "ENABLED",
                "securityGroups": [],
            }
        },
        "overrides": {
            "containerOverrides": [
                {
                    "name": "prefect",
                    "environment": [{"name": "A", "value": "1"}],
                    "command": ["prefect", "flow-run", "execute"],
                }
            ]
        },
        "tags": [
            {"key": "prefect.io/flow-name", "value": "My-Flow"},
            {"key": "prefect.io/deployment-name", "value": "Daily-Load"},
            {"key": "reconciler.launch-token", "value": TOKEN},
        ],
    }


@pytest.mark.parametrize(
    ("settings", "field", "value"),
    [
        ({"cpu": 256, "memory": 512}, "cpu", "256"),
        ({"cpu": 256, "memory": 512}, "memory", "512"),
        ({"family": "Own_Family"}, "family", "Own_Family"),
        ({"family": "Own Family"}, "family", "Own-Family"),
        ({"task_definition": {"family": "theirs"}}, "family", "theirs"),
        ({"family": "ours", "task_definition": {"family": "theirs"}}, "family", "ours"),
        ({"execution_role_arn": ROLE}, "executionRoleArn", ROLE),
        ({"task_definition": {"networkMode": "host"}}, "networkMode", "host"),
        ({"task_definition": {"cpu": "512"}}, "cpu", "512"),
        ({"launch_type": "FARGATE_SPOT"}, "requiresCompatibilities", ["FARGATE"]),
        (
            {"task_definition": {"requiresCompatibilities": ["EC2"]}},
            "requiresCompatibilities",
            ["EC2", "FARGATE"],
        ),
        ({"launch_type": "EC2"}, "cpu", None),
        ({"launch_type": "EC2"}, "networkMode", None),
        ({"launch_type": "EXTERNAL"}, "requiresCompatibilities", None),
        ({"launch_type": None}, "requiresCompatibilities", None),
    ],
)
def test_a_field_of_the_definition(settings, field, value):
    assert made(**settings).get(field) == value


@pytest.mark.parametrize(
    ("settings", "field", "value"),
    [
        ({"image": "own:1"}, "image", "own:1"),
        ({"launch_type": "EC2"}, "cpu", 1024),
        ({"launch_type": "EC2", "memory": 300}, "memory", 300),
        ({"launch_type": "EC2", "task_definition": {"memory": "700"}}, "memory", 700),
        ({"launch_type": "EXTERNAL"}, "memory", 2048),
        ({"launch_type": None}, "memory", None),
        ({"launch_type": "FARGATE", "memory": 512}, "memory", None),
        ({}, "logConfiguration", None),
    ],
)
def test_a_field_of_the_flows_container(settings, field, value):
    assert flow(made(**settings)).get(field) == value


def test_the_definitions_own_containers_stay_and_the_flows_is_added():
    sidecar = {"name": "sidecar", "image": "proxy:1"}
    definition = made(task_definition={"containerDefinitions": [sidecar]})
    assert definition["containerDefinitions"] == [sidecar, {"name": "prefect", "image": IMAGE}]


def test_the_image_of_the_definition_counts_before_the_default():
    theirs = {"containerDefinitions": [{"name": "prefect", "image": "theirs:1"}]}
    assert flow(made(task_definition=theirs))["image"] == "theirs:1"
    assert flow(made(task_definition=theirs, image="own:1"))["image"] == "own:1"


def test_null_unsets_a_variable_of_the_definition():
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    theirs = {"containerDefinitions": [{"name": "prefect", "environment": env}]}
    definition = made(task_definition=theirs, env={"A": None, "B": "3"})
    assert flow(definition)["environment"] == [{"name": "B", "value": "2"}]


def test_a_block_is_not_changed_by_its_use():
    settings = {"task_definition": {"containerDefinitions": [{"name": "prefect"}]}}
    first = spec(**settings)
    prepare(first, None, IMAGE, None)
    assert first.settings == EcsTaskSettings(**settings)


@pytest.mark.parametrize("how", ["configure_cloudwatch_logs", "stream_output"])
def test_logs_go_to_cloudwatch(how):
    definition = made(execution_role_arn=ROLE, **{how: True})
    assert flow(definition)["logConfiguration"] == {
        "logDriver": "awslogs",
        "options": {
            "awslogs-create-group": "true",
            "awslogs-group": "prefect",
            "awslogs-region": "eu-west-1",
            "awslogs-stream-prefix": "prefect",
        },
    }


def test_no_run_changes_the_definition():
    logs = {"execution_role_arn": ROLE, "configure_cloudwatch_logs": True}
    env = {"PREFECT__FLOW_RUN_ID": "another"}
    assert made(name="quick-fox", **logs) == made(name="lazy-dog", env=env, **logs)


def test_the_log_stream_is_named_by_the_block_and_options_win():
    options = {"awslogs-stream-prefix": "own", "awslogs-group": "team"}
    logs = {"execution_role_arn": ROLE, "configure_cloudwatch_logs": True}
    named = flow(prepare(_named(logs), None, IMAGE, "r"))
    assert named["logConfiguration"]["options"]["awslogs-stream-prefix"] == "block"
    given = flow(made(**logs, cloudwatch_logs_options=options))["logConfiguration"]["options"]
    assert (given["awslogs-stream-prefix"], given["awslogs-group"]) == ("own", "team")


def _named(settings):
    made_of = {**settings, "name": "block"}
    return LaunchSpec(TOKEN, "run-1", "block", "ecs-task", EcsTaskSettings(**made_of))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stream_output": True}, "execution_role_arn"),
        ({"cloudwatch_logs_options": {"a": "b"}}, "needs configure_cloudwatch_logs"),
        (
            {
                "stream_output": True,
                "configure_cloudwatch_logs": False,
                "cloudwatch_logs_options": {"a": "b"},
            },
            "needs configure_cloudwatch_logs",
        ),
        ({"task_definition": {"containerDefinitions": "none"}}, "must be a list"),
        ({"launch_type": "EC2", "task_definition": {"cpu": "1 vCPU"}}, "must be a number"),
    ],
)
def test_settings_that_contradict_each_other_are_named(settings, words):
    with pytest.raises(NotLaunchable, match=words):
        made(**settings)


def test_a_role_of_the_definition_may_write_logs():
    assert flow(made(stream_output=True, task_definition={"executionRoleArn": ROLE}))
    registered = {"family": "f", "containerDefinitions": [{"name": "prefect", "image": "i"}]}
    definition = made(base=registered, stream_output=True, task_definition_arn="arn")
    assert "logConfiguration" in flow(definition)


def test_a_registered_definition_gets_no_role_and_loses_what_ecs_added():
    registered = {
        "family": "Theirs",
        "containerDefinitions": [{"name": "prefect", "image": "i"}],
        "revision": 3,
        "status": "ACTIVE",
        "compatibilities": ["EC2"],
        "taskDefinitionArn": "arn",
    }
    definition = made(base=registered, task_definition_arn="arn", execution_role_arn=ROLE)
    assert definition["family"] == "Theirs"
    assert not {"executionRoleArn", "revision", "status", "compatibilities"} & set(definition)


def test_what_ecs_adds_makes_no_other_content():
    sent = made(
        task_definition={
            "containerDefinitions": [
                {
                    "name": "prefect",
                    "environment": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}],
                }
            ]
        }
    )
    told = {**sent, "revision": 4, "status": "ACTIVE", "volumes": [], "registeredBy": "me"}
    told["containerDefinitions"] = [
        {
            **flow(sent),
            "essential": True,
            "cpu": 0,
            "portMappings": [],
            "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        }
    ]
    assert same(sent, told)
    assert same({**sent, "tags": [{"key": "a", "value": "b"}]}, told)
    assert digest(sent) != digest({**sent, "cpu": "2048"})


def test_a_definition_without_a_network_mode_is_told_as_bridged():
    sent = made(launch_type="EC2")
    assert same(sent, {**sent, "networkMode": "bridge"})
    assert not same(sent, {**sent, "networkMode": "host"})


@pytest.mark.parametrize(
    ("settings", "field", "value"),
    [
        ({"cluster": "work"}, "cluster", "work"),
        ({}, "cluster", None),
        ({"launch_type": "EC2"}, "launchType", "EC2"),
        ({"launch_type": None}, "launchType", None),
        ({"launch_type": "FARGATE_SPOT"}, "launchType", None),
        (
            {"launch_type": "FARGATE_SPOT"},
            "capacityProviderStrategy",
            [{"capacityProvider": "FARGATE_SPOT", "weight": 1}],
        ),
        ({}, "capacityProviderStrategy", None),
        ({}, "networkConfiguration", None),
    ],
)
def test_a_field_of_the_request(settings, field, value):
    assert request(**settings).get(field) == value


def test_the_overrides_of_roles_and_size():
    overrides = request(
        cpu=256, memory=512, execution_role_arn=ROLE, task_role_arn="task", command=("a", "b")
    )["overrides"]
    [container] = overrides.pop("containerOverrides")
    assert overrides == {
        "cpu": "256",
        "memory": "512",
        "executionRoleArn": ROLE,
        "taskRoleArn": "task",
    }
    assert (container["cpu"], container["memory"]) == (256, 512)
    assert container["command"] == ["a", "b"]


def test_a_secret_of_the_definition_is_not_put_over_in_the_open():
    secrets = [{"name": "PREFECT_API_KEY", "valueFrom": "arn:secret"}]
    theirs = {"containerDefinitions": [{"name": "prefect", "secrets": secrets}]}
    env = {"PREFECT_API_KEY": "pnu_1", "A": "1"}
    [container] = request(task_definition=theirs, env=env)["overrides"]["containerOverrides"]
    assert container["environment"] == [{"name": "A", "value": "1"}]


def test_labels_become_tags_in_the_characters_of_ecs():
    made_of = tags({"a/b": "Grüße, Welt!", "k" * 200: "v" * 300, "!": "lost"})
    assert made_of == [
        {"key": "a/b", "value": "Gr-e-Welt"},
        {"key": "k" * 128, "value": "v" * 256},
    ]


@pytest.mark.parametrize("launch_type", ["EC2", "EXTERNAL"])
def test_own_instances_take_no_public_address(launch_type):
    network = network_of(EcsTaskSettings(launch_type=launch_type), [])
    assert network["awsvpcConfiguration"]["assignPublicIp"] == "DISABLED"


def test_customisations_change_the_request():
    patch = [
        {"op": "replace", "path": "/launchType", "value": "EC2"},
        {"op": "add", "path": "/overrides/containerOverrides/0/cpu", "value": 99},
    ]
    changed = request(task_customizations=patch)
    assert changed["launchType"] == "EC2"
    assert changed["overrides"]["containerOverrides"][0]["cpu"] == 99


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (
            {"op": "replace", "path": "/none/x", "value": 1},
            r"\[1\] \(replace /none/x\): there is no such place",
        ),
        (
            {"op": "remove", "path": "/cluster"},
            r"\[1\] \(remove /cluster\): there is no such place",
        ),
        (
            {"op": "test", "path": "/count", "value": 2},
            r"\[1\] \(test /count\): the value there is another one",
        ),
        ({"op": "change", "path": "/count"}, r"\[1\] is no operation"),
        ({"op": "add", "path": "count", "value": 1}, r"\[1\] is no operation"),
        ({"path": "/count"}, r"\[1\] is no operation"),
        ({"op": "replace", "path": "/count", "value": 2}, "may not change count"),
        ({"op": "remove", "path": "/clientToken"}, "may not change clientToken"),
        ({"op": "replace", "path": "/startedBy", "value": "x"}, "may not change startedBy"),
        ({"op": "replace", "path": "", "value": 1}, "mapping"),
    ],
)
def test_a_wrong_customisation_is_named_without_the_request(operation, words):
    patch = [{"op": "test", "path": "/count", "value": 1}, operation]
    with pytest.raises(NotLaunchable, match=words) as told:
        request(task_customizations=patch, env={"PREFECT_API_KEY": "pnu_secret"})
    assert "pnu_secret" not in str(told.value)


def test_a_customised_cluster_is_where_the_task_is_looked_for():
    moved = [{"op": "add", "path": "/cluster", "value": "other"}]
    gone = [{"op": "remove", "path": "/cluster"}]
    assert cluster_of(EcsTaskSettings(cluster="work")) == "work"
    assert cluster_of(EcsTaskSettings(cluster="work", task_customizations=moved)) == "other"
    assert cluster_of(EcsTaskSettings(cluster="work", task_customizations=gone)) is None


def test_subnets_are_not_looked_up_where_they_are_given():
    awsvpc = {"networkMode": "awsvpc"}
    path = "/networkConfiguration/awsvpcConfiguration/subnets"
    given = EcsTaskSettings(task_customizations=[{"op": "add", "path": path, "value": ["s"]}])
    assert needs_subnets(EcsTaskSettings(), awsvpc) is True
    assert needs_subnets(given, awsvpc) is False
    assert needs_subnets(EcsTaskSettings(), {}) is None


def test_a_pid_is_prefects():
    arn = "arn:aws:ecs:eu-west-1:123456789012:task/work/abc"
    assert pid_of("work", arn, "arn:cluster") == f"work::{arn}"
    assert pid_of(None, arn, "arn:cluster") == f"arn:cluster::{arn}"
    assert parse_pid(f"work::{arn}") == ("work", arn, "eu-west-1")
    for other in ("host:12", "work::abc", "cluster:job", "a::arn:aws:s3:::x"):
        assert parse_pid(other) is None


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, {"use_ssl": True, "verify": "/ca.pem"}),
        ({"verify": False}, {"use_ssl": True, "verify": False}),
        ({"verify": "/own.pem"}, {"use_ssl": True, "verify": "/own.pem"}),
        ({"verify_cert_path": "/path.pem"}, {"use_ssl": True, "verify": "/path.pem"}),
        ({"verify": False, "verify_cert_path": "/p"}, {"use_ssl": True, "verify": False}),
        (
            {"endpoint_url": "http://x", "use_ssl": False, "api_version": "v", "config": {"a": 1}},
            {
                "use_ssl": False,
                "verify": "/ca.pem",
                "endpoint_url": "http://x",
                "api_version": "v",
                "config": {"a": 1},
            },
        ),
    ],
)
def test_the_options_of_the_client(parameters, expected):
    assert client_options(AwsClientParameters(**parameters), "/ca.pem") == expected
