"""What is asked of a Docker engine: every setting, field by field, by Prefect 2.20.26's rules."""

import pytest

from reconciler.blocks.docker import DockerContainerSettings, ImagePullPolicy
from reconciler.infrastructure.base import NotLaunchable
from reconciler.infrastructure.docker.images import credentials, registry_of
from reconciler.infrastructure.docker.reasons import explain
from reconciler.infrastructure.docker.request import (
    container_name,
    create_body,
    image_of,
    pull_policy,
    size,
)
from reconciler.model.launch import LaunchSpec

TOKEN = "11111111-1111-8111-8111-111111111111"
REMOTE = "https://prefect.example.com/api"
LOCAL = "http://127.0.0.1:4200/api"
GATEWAY = ["host.docker.internal:host-gateway"]


def spec(name="nightly", env=None, own=None, prefect=None, **settings):
    settings = DockerContainerSettings(env=own or {}, **settings)
    return LaunchSpec(
        token=TOKEN,
        flow_run_id="run",
        name=name,
        type="docker-container",
        settings=settings,
        env={"PREFECT_API_URL": REMOTE, **(env or {}), **settings.env},
        labels={**(prefect or {}), **settings.labels},
    )


def body(**how):
    return create_body(spec(**how), "etl:1")


def host(**how):
    return body(**how)["HostConfig"]


PLAIN = {"AutoRemove": False, "Privileged": False, "ExtraHosts": GATEWAY}


def test_a_plain_container():
    assert body() == {
        "Image": "etl:1",
        "Cmd": ["prefect", "flow-run", "execute"],
        "Env": [f"PREFECT_API_URL={REMOTE}"],
        "Labels": {
            "io.reconciler.launch-token": TOKEN,
            "io.reconciler.flow-run-id": "run",
            "io.reconciler.stream-output": "true",
            "io.reconciler.keep": "true",
        },
        "HostConfig": PLAIN,
    }


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({"privileged": True}, {"Privileged": True}),
        ({"volumes": ["/a:/b", "data:/c:ro"]}, {"Binds": ["/a:/b", "data:/c:ro"]}),
        ({"mem_limit": "512m"}, {"Memory": 512 * 1024**2}),
        ({"mem_limit": 1000.0}, {"Memory": 1000}),
        ({"memswap_limit": -1}, {"MemorySwap": -1}),
        ({"memswap_limit": "2gb"}, {"MemorySwap": 2 * 1024**3}),
        ({"network_mode": "bridge"}, {"NetworkMode": "bridge"}),
        ({"networks": ["one", "two"]}, {"NetworkMode": "one"}),
        ({"auto_remove": True}, {}),
    ],
    ids=str,
)
def test_a_setting_changes_its_own_part_of_the_host_configuration(settings, changed):
    assert host(**settings) == PLAIN | changed


@pytest.mark.parametrize(
    ("settings", "mode"), [({"network_mode": "none"}, "none"), ({"network_mode": "host"}, "host")]
)
def test_a_container_that_shares_a_network_gets_no_name_for_its_host(settings, mode):
    assert host(**settings) == {"AutoRemove": False, "Privileged": False, "NetworkMode": mode}


def test_the_first_network_is_joined_as_the_container_is_made():
    assert body(networks=["one", "two"])["NetworkingConfig"] == {"EndpointsConfig": {"one": {}}}


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1"])
def test_an_api_on_this_machine_is_reached_over_its_own_network(address):
    made = body(env={"PREFECT_API_URL": f"http://{address}:4200/api"})
    assert made["HostConfig"]["NetworkMode"] == "host"
    assert made["Env"] == [f"PREFECT_API_URL=http://{address}:4200/api"]


def test_an_api_on_this_machine_is_reached_by_its_docker_name_from_another_network():
    made = body(env={"PREFECT_API_URL": LOCAL}, network_mode="bridge")
    assert made["Env"] == ["PREFECT_API_URL=http://host.docker.internal:4200/api"]
    assert made["HostConfig"]["ExtraHosts"] == GATEWAY


def test_an_api_url_of_the_block_is_left_as_it_is():
    made = body(own={"PREFECT_API_URL": LOCAL}, network_mode="bridge")
    assert made["Env"] == [f"PREFECT_API_URL={LOCAL}"]


def test_a_variable_that_is_null_is_not_set():
    assert body(env={"A": None, "B": "2"})["Env"] == [f"PREFECT_API_URL={REMOTE}", "B=2"]


def test_the_users_labels_are_turned_into_dockers_form_and_prefects_stay():
    prefect = {"prefect.io/version": "3.8.8", "prefect.io/flow-name": "etl"}
    made = body(prefect=prefect, labels={"my.org/team": "data", "plain": "x"})["Labels"]
    assert made["prefect.io/flow-name"] == "etl"
    assert made["io.prefect.version"] == "3.8.8"
    assert made["org.my.team"] == "data"
    assert made["plain"] == "x"
    assert "my.org/team" not in made


def test_networks_and_a_network_mode_exclude_each_other():
    with pytest.raises(NotLaunchable, match="networks and network_mode"):
        body(networks=["one"], network_mode="host")


def test_a_volume_needs_two_paths():
    with pytest.raises(NotLaunchable, match="volumes: '/data' has no colon"):
        body(volumes=["/data"])


@pytest.mark.parametrize("value", ["lots", "12 parsecs", "-5"])
def test_a_size_that_is_none_is_named_with_its_field(value):
    with pytest.raises(NotLaunchable, match="mem_limit"):
        size("mem_limit", value)


@pytest.mark.parametrize("image", ["my image:1", "org/UPPER", "a:b:c", "http://x/y", ""])
def test_an_image_that_is_no_reference_is_named(image):
    with pytest.raises(NotLaunchable, match="is no image reference"):
        image_of(DockerContainerSettings(image=image or " "), "")


@pytest.mark.parametrize(
    "image",
    [
        "etl",
        "etl:1.0",
        "a/b/c",
        "registry:5000/a/b",
        "ghcr.io/org/etl:v1_x-y",
        "etl@sha256:" + "0" * 64,
        "Registry.Example.com/etl",
    ],
)
def test_an_image_reference_is_taken(image):
    assert image_of(DockerContainerSettings(image=image), "x") == image


def test_the_default_image_is_that_of_the_server():
    assert (
        image_of(DockerContainerSettings(), "prefecthq/prefect:3.8.8") == "prefecthq/prefect:3.8.8"
    )


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("etl", "ALWAYS"),
        ("etl:latest", "ALWAYS"),
        ("repo:5000/a/b", "ALWAYS"),
        ("etl:1", "IF_NOT_PRESENT"),
        ("repo:5000/a/b:1", "IF_NOT_PRESENT"),
        ("etl@sha256:" + "0" * 64, "IF_NOT_PRESENT"),
    ],
)
def test_an_image_without_a_fixed_tag_is_pulled_each_time(image, policy):
    assert pull_policy(DockerContainerSettings(), image) is ImagePullPolicy(policy)
    never = DockerContainerSettings(image_pull_policy="NEVER")
    assert pull_policy(never, image) is ImagePullPolicy.NEVER


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        ("My flow (run)", "My-flow-run"),
        ("__x", "x"),
        ("***", "flow-run"),
        ("n" * 300, "n" * 180),
    ],
)
def test_a_container_is_named_as_by_prefect_and_by_its_token(name, readable):
    assert container_name(spec(name=name)) == f"{readable}-{TOKEN}"


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("etl", "docker.io"),
        ("org/etl", "docker.io"),
        ("index.docker.io/org/etl", "docker.io"),
        ("localhost/etl", "localhost"),
        ("ghcr.io/org/etl", "ghcr.io"),
        ("repo:5000/etl", "repo:5000"),
    ],
)
def test_the_registry_of_an_image(image, registry):
    assert registry_of(image) == registry


@pytest.mark.parametrize(
    ("url", "image", "given"),
    [
        ("https://ghcr.io", "ghcr.io/org/etl", True),
        ("ghcr.io/v2/", "ghcr.io/org/etl", True),
        ("https://index.docker.io/v1/", "org/etl", True),
        ("docker.io", "etl", True),
        ("ghcr.io", "quay.io/org/etl", False),
        ("ghcr.io", "etl", False),
    ],
)
def test_credentials_go_to_their_own_registry_only(url, image, given):
    settings = DockerContainerSettings(
        image_registry={"username": "bob", "password": "canary", "registry_url": url}
    )
    found = credentials(settings.image_registry, image)
    assert (found is not None) == given
    if found is not None:
        assert found == {"username": "bob", "password": "canary", "serveraddress": url}
    assert credentials(None, image) is None


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"ExitCode": 0}, "completed"),
        ({"ExitCode": 3}, "exit code 3"),
        ({"ExitCode": 137, "OOMKilled": True}, "memory was used up"),
        ({"ExitCode": 137}, "SIGKILL"),
        ({"ExitCode": 127}, "not in the image"),
        ({"ExitCode": 139}, "SIGSEGV"),
        ({"ExitCode": 250}, "exit code 250"),
        ({"ExitCode": 128, "Error": "no such device"}, "no such device"),
    ],
)
def test_the_reason_of_an_end_is_told_in_words(state, words):
    assert words in explain(state)
