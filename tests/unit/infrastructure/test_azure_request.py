"""The container group of a flow run: every setting, field by field, by the REST API's documents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.blocks.azure import AzureContainerInstanceJobSettings
from reconciler.infrastructure.azure.request import container_group, group_name
from reconciler.infrastructure.base import NotLaunchable
from reconciler.model.launch import LaunchSpec

TOKEN = "11111111-1111-8111-8111-111111111111"
API = {
    "PREFECT_API_URL": "https://prefect.example.com/api",
    "PREFECT__FLOW_RUN_ID": "run",
    "PREFECT_API_KEY": "canary",
}
NAME = f"nightly-{TOKEN}"
GPU = {"gpu_count": 2, "gpu_sku": "V100"}


def spec(name="nightly", env=None, command=None, **settings):
    needed = {"resource_group_name": "flows", "subscription_id": "sub"}
    return LaunchSpec(
        token=TOKEN,
        flow_run_id="run",
        name=name,
        type="azure-container-instance-job",
        settings=AzureContainerInstanceJobSettings(**needed, **settings),
        env={**API, **(env or {})},
        command=command,
    )


def made(**how):
    return container_group(spec(**how), "prefecthq/prefect:3.8.8", "westeurope")


def plain(properties=None, container=None, **body):
    return {
        "location": "westeurope",
        "tags": {"reconciler-launch-token": TOKEN, "reconciler-flow-run-id": "run"},
        "properties": {
            "osType": "Linux",
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": NAME,
                    "properties": {
                        "image": "prefecthq/prefect:3.8.8",
                        "command": ["/opt/prefect/entrypoint.sh", "prefect", "flow-run", "execute"],
                        "environmentVariables": [
                            {"name": "PREFECT_API_URL", "value": API["PREFECT_API_URL"]},
                            {"name": "PREFECT__FLOW_RUN_ID", "value": "run"},
                            {"name": "PREFECT_API_KEY", "secureValue": "canary"},
                        ],
                        "resources": {"requests": {"cpu": 1.0, "memoryInGB": 1.0}},
                        **(container or {}),
                    },
                }
            ],
            **(properties or {}),
        },
        **body,
    }


def test_a_block_without_settings():
    assert made() == plain()


def requests(**more):
    return {"container": {"resources": {"requests": {"cpu": 1.0, "memoryInGB": 1.0, **more}}}}


def credentials(**which):
    return {"properties": {"imageRegistryCredentials": [which]}}


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({"image": "etl:1"}, {"container": {"image": "etl:1"}}),
        ({"entrypoint": None}, {"container": {"command": ["prefect", "flow-run", "execute"]}}),
        (
            {"entrypoint": "/x"},
            {"container": {"command": ["/x", "prefect", "flow-run", "execute"]}},
        ),
        ({"cpu": 0.5}, requests(cpu=0.5)),
        ({"memory": 3.5}, requests(memoryInGB=3.5)),
        (GPU, requests(gpu={"count": 2, "sku": "V100"})),
        ({"subnet_ids": ["/a", "/b"]}, {"properties": {"subnetIds": [{"id": "/a"}, {"id": "/b"}]}}),
        (
            {"dns_servers": ["10.0.0.2"]},
            {"properties": {"dnsConfig": {"nameServers": ["10.0.0.2"]}}},
        ),
        (
            {"identities": ["/i"]},
            {"identity": {"type": "UserAssigned", "userAssignedIdentities": {"/i": {}}}},
        ),
        (
            {"image_registry": {"username": "u", "password": "p", "registry_url": "https://r.io/"}},
            credentials(server="r.io", username="u", password="p"),
        ),
        (
            {"image_registry": {"registry_url": "x.azurecr.io", "identity": "/i"}},
            credentials(server="x.azurecr.io", identity="/i"),
        ),
    ],
    ids=str,
)
def test_a_setting_changes_its_own_part(settings, changed):
    assert made(**settings) == plain(**changed)


def test_the_command_follows_the_entrypoint_and_is_left_as_it_is():
    command = ("python", "x.py")
    launch = spec(command=command)
    container_group(launch, "x", "y")
    told = container_group(launch, "x", "y")["properties"]["containers"][0]["properties"]["command"]
    assert told == ["/opt/prefect/entrypoint.sh", *command], "once, however often it is asked"


def test_a_variable_that_is_null_is_not_sent_and_no_value_of_the_users_is_shown():
    variables = made(env={"A": None, "B": "2"})["properties"]["containers"][0]["properties"]
    told = {one["name"]: one for one in variables["environmentVariables"]}
    assert "A" not in told
    assert told["B"] == {"name": "B", "secureValue": "2"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"gpu_count": 1}, "gpu_count and gpu_sku"),
        ({"gpu_sku": "V100"}, "gpu_count and gpu_sku"),
        ({"cpu": 0}, "cpu must be more than 0"),
        ({"memory": -1}, "memory must be more than 0"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(settings, words):
    with pytest.raises(NotLaunchable, match=words):
        made(**settings)


@given(st.text(min_size=1), st.uuids())
def test_every_name_makes_a_group_name_that_azure_takes(name, token):
    told = group_name(spec(name=name)).replace(TOKEN, str(token))
    assert len(told) <= 63
    assert all(one in "abcdefghijklmnopqrstuvwxyz0123456789-" for one in told)
    assert told[0].isalnum()
    assert told.endswith(str(token))
