"""Real flow runs of both Prefect versions in containers, on the host's network and on a bridge."""

from contextlib import nullcontext

import pytest

from tests.integration.agents import AgentProcess, ensure_pool, infrastructure_block
from tests.testbed import images, seed
from tests.testbed.forward import Forward

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FLOW = """
import os
from prefect import flow, get_run_logger

@flow
def hello(name):
    get_run_logger().info("hello %s, %s", name, os.environ.get("MARK"))
    print("printed", name)
"""


@pytest.mark.parametrize("network", ["host", "bridge"])
def test_a_flow_run_completes_in_a_container(server, dockerd, tmp_path, network):
    image = images.prefect(dockerd, server.major)
    code = tmp_path / "code"
    code.mkdir()
    (code / "hello.py").write_text(FLOW)
    data = {
        "type": "docker-container",
        "image": image,
        "image_pull_policy": "NEVER",
        "volumes": [f"{code}:/flows:ro"],
        "auto_remove": True,
        "env": {"MARK": "from the block"},
        "stream_output": True,
        **({"network_mode": "host"} if network == "host" else {"networks": ["flows"]}),
    }
    if network == "bridge":
        dockerd.docker("network", "create", "flows", check=False)  # or another test made it
    with server.client() as client:
        ensure_pool(client)
        block = infrastructure_block(client, "docker-container", "box", data)
        deployment = seed.deployment(
            client,
            "nightly",
            work_pool_name="default-agent-pool",
            infrastructure_document_id=block,
            path="/flows",
            entrypoint="hello.py:hello",
            parameters={"name": "bob"},
            enforce_parameter_schema=False,
        )
        run = seed.flow_run(client, deployment["id"], parameters={"name": "bob"})["id"]
        platforms = {"docker_host": dockerd.url}
        # host.docker.internal is the default bridge's address, whatever network a container is on.
        with (
            Forward(dockerd.gateway, server.port) if network == "bridge" else nullcontext(),
            AgentProcess(server, tmp_path, platforms=platforms) as agent,
        ):
            state = seed.wait_for_state(client, run, seconds=240)["state"]
            assert state["type"] == "COMPLETED", "\n".join(agent.events)
            seed.wait_until(lambda: not dockerd.docker("ps", "-aq").strip(), seconds=60)
            assert any("printed bob" in line for line in agent.events), "its output is streamed"
        wanted = {"logs": {"flow_run_id": {"any_": [run]}}}
        logs = seed.request(client, "POST", "/logs/filter", wanted)
        assert any(one["message"] == "hello bob, from the block" for one in logs)
