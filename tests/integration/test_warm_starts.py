"""Warm starts with Prefect itself: flows of both versions are forked from a helper, and complete."""

import os
import uuid
from contextlib import asynccontextmanager

import anyio
import pytest

from reconciler.blocks.process import ProcessSettings
from reconciler.infrastructure import Surroundings
from reconciler.infrastructure.process import ProcessLauncher
from reconciler.model.launch import LaunchSpec, Sought
from reconciler.runtime.clock import SystemClock
from tests.testbed import seed
from tests.testbed.fault import FaultProxy
from tests.testbed.tls import certificate

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


class Bench:
    """A launcher, a deployment, and how its runs ended.

    Attributes:
        helper: process id of the one helper.
    """

    def __init__(self, server, client, launcher, deployment):
        self._client, self._launcher, self._deployment = client, launcher, deployment

    @property
    def helper(self):
        [helper] = self._launcher._warm._helpers.values()
        return helper._process.pid

    async def run(self, number, **env):
        """Run to the end; return exit code, type of the state, and output."""
        made = seed.flow_run(self._client, self._deployment, parameters={"number": number})["id"]
        pending = {"state": {"type": "PENDING"}}
        seed.request(self._client, "POST", f"/flow_runs/{made}/set_state", pending)
        spec = LaunchSpec(
            token=str(uuid.uuid4()),
            flow_run_id=made,
            name="one",
            type="process",
            settings=ProcessSettings(),
            env={"PREFECT__FLOW_RUN_ID": made, **env},
        )
        handle = await self._launcher.create(spec)
        await self._launcher.start(handle)
        with anyio.fail_after(120):
            ended = await self._launcher.ended(handle)
        text = "\n".join(await self._launcher.logs(Sought(spec.token, made), 500))
        state = seed.request(self._client, "GET", f"/flow_runs/{made}")["state"]["type"]
        await self._launcher.discard(handle)
        return ended.exit_code, state, text


@asynccontextmanager
async def bench(server, folder):
    code = folder / "code"
    code.mkdir()
    (code / "flow.py").write_text(FLOW)
    base = {"PATH": os.environ["PATH"], "HOME": str(folder), **server.client_env}
    launcher = ProcessLauncher(
        Surroundings(
            state_dir=folder / "state",
            host_dir=folder / "host",
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
        yield Bench(server, client, launcher, deployment)
    await launcher.close()


async def test_flows_are_forked_from_one_helper_and_end_as_they_should(server, tmp_path):
    async with bench(server, tmp_path) as made:
        ends = [await made.run(number) for number in (1, 2, 3)]
        assert [end[1] for end in ends] == ["COMPLETED", "FAILED", "COMPLETED"], ends
        for number, (_, _, text) in enumerate(ends, 1):
            assert f"parent {made.helper} of {number}" in text


async def test_the_servers_certificate_is_verified_in_a_fork(server, tmp_path):
    """The helper has Prefect's client read certificates late: it must still read them, and believe no
    other."""
    authority = certificate(tmp_path)
    with FaultProxy(server.url, certificate=authority) as proxy:
        async with bench(server, tmp_path) as made:
            known = {"PREFECT_API_URL": proxy.url, "PREFECT_API_SSL_CERT_FILE": str(authority[0])}
            code, state, text = await made.run(1, **known)
            assert (code, state) == (0, "COMPLETED"), text
            assert f"parent {made.helper} of 1" in text
        assert proxy.requests
        (tmp_path / "other").mkdir()
        async with bench(server, tmp_path / "other") as made:
            code, state, text = await made.run(1, PREFECT_API_URL=proxy.url)
            assert (code, state) == (1, "PENDING")
            assert "CERTIFICATE_VERIFY_FAILED" in text
            assert made.helper
