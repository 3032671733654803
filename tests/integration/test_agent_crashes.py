"""Kill -9 at every request of a launch: each run is executed exactly once, none stays Pending."""

from contextlib import ExitStack

import pytest

from tests.integration.agents import (
    AgentProcess,
    cheap_deployment,
    ensure_pool,
    executions,
    settle,
)
from tests.testbed import seed
from tests.testbed.fault import FaultProxy, When
from tests.testbed.thorough import THOROUGH, places

LAUNCH = r"/set_state$|/deployments/[^/]+$|/flows/|/block_documents/|/flow_run_states|/flow_runs/[0-9a-f-]{36}$"
"""The requests of a launch, from the claim to the look at its end; heartbeats and polls apart."""
MOST = 12


def killed_at(server, folder, client, deployment, number, when, second):
    """Run one flow with the agent killed at request `number`; return whether it was killed."""
    with FaultProxy(server.url) as proxy, ExitStack() as agents:

        def start(name, **how):
            agent = agents.enter_context(AgentProcess(server, folder, name, **how))
            everyone.append(agent)
            return agent

        everyone = []
        agent = start("killed", url=proxy.url).ready()
        if second:
            start("second").ready()
        proxy.kill_at(number, agent.process.pid, when, path=LAUNCH)
        run = seed.flow_run(client, deployment)["id"]
        seed.wait_until(
            lambda: agent.process.poll() is not None or seed.state_of(client, run) in seed.FINAL,
            seconds=90,
        )
        was_killed = agent.process.poll() is not None
        if not second:
            settle(0.3)
            agent.kill()
            start("next")
        ended = seed.wait_for_state(client, run, seconds=90)
        settle()
        about = (number, when, ended["state"], [each.events for each in everyone])
        assert executions(folder).count(run) == 1, about
        assert ended["state_type"] == "COMPLETED", about
    return was_killed


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("second", [False, True], ids=["restarted", "beside a second"])
def test_an_agent_killed_at_any_request_of_a_launch_executes_it_once(
    server, tmp_path, when, second
):
    with server.client() as client:
        client.timeout = 90  # a SQLite server pauses now and then when its clients are killed
        ensure_pool(client)
        deployment = cheap_deployment(client, tmp_path)
        kills = 0
        for number in places(MOST, server.major, when, second):
            if killed_at(server, tmp_path, client, deployment, number, when, second):
                kills += 1
            elif not second:
                break
        assert second or kills >= (6 if THOROUGH else 1)
