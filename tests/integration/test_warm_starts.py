"""Warm starts with Prefect itself: flows of both versions are forked from a helper, and complete."""

import os
import uuid

import anyio
import pytest

from reconciler.blocks.process import ProcessSettings
from reconciler.infrastructure import Surroundings
from reconciler.infrastructure.process import ProcessLauncher
from reconciler.model.launch import LaunchSpec, Sought
from reconciler.runtime.clock import SystemClock
from tests.testbed import seed

pytestmark = [pytest.mark.anyio, pytest.mark.prefect]

FLOW = """
import os
from prefect import flow, get_run_logger, task

@task
def parent():
    return os.getppid()

@flow
def tell(number: int):
    get_run_logger().info("parent %s of %s", parent(), number)
    if number == 2:
        raise ValueError("told to")
"""


async def test_flows_are_forked_from_one_helper_and_end_as_they_should(server, tmp_path):
    code = tmp_path / "code"
    code.mkdir()
    (code / "flow.py").write_text(FLOW)
    base = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **server.client_env}
    launcher = ProcessLauncher(
        Surroundings(
            state_dir=tmp_path / "state",
            host_dir=tmp_path / "host",
            inherited=lambda: base,
            python=str(server.python),
            clock=SystemClock(),
            warm=True,
        )
    )
    with server.client() as client:
        deployment = seed.deployment(
            client, entrypoint="flow.py:tell", path=str(code), enforce_parameter_schema=False
        )["id"]

        async def run(number):
            made = seed.flow_run(client, deployment, parameters={"number": number})["id"]
            pending = {"state": {"type": "PENDING"}}
            seed.request(client, "POST", f"/flow_runs/{made}/set_state", pending)
            spec = LaunchSpec(
                token=str(uuid.uuid4()),
                flow_run_id=made,
                name="one",
                type="process",
                settings=ProcessSettings(),
                env={"PREFECT__FLOW_RUN_ID": made},
            )
            handle = await launcher.create(spec)
            await launcher.start(handle)
            with anyio.fail_after(120):
                ended = await launcher.ended(handle)
            text = "\n".join(await launcher.logs(Sought(spec.token, made), 500))
            state = seed.request(client, "GET", f"/flow_runs/{made}")["state"]["type"]
            await launcher.discard(handle)
            return ended.exit_code, state, text

        ends = [await run(number) for number in (1, 2, 3)]
    [helper] = launcher._warm._helpers.values()
    assert [end[1] for end in ends] == ["COMPLETED", "FAILED", "COMPLETED"], ends
    for number, (_, _, text) in enumerate(ends, 1):
        assert f"parent {helper._process.pid} of {number}" in text
    await launcher.close()
