"""Kill -9 at every request of a launch: each run is executed exactly once, none stays Pending."""

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

LAUNCH = r"/set_state$|/deployments/[^/]+$|/flows/|/block_documents/|/flow_run_states|/flow_runs/[0-9a-f-]{36}$"
"""The requests of a launch, from the claim to the look at its end; heartbeats and polls apart."""
MOST = 12


def killed_at(server, folder, client, deployment, number, when, second):
    """Run one flow with the agent killed at request `number`; return whether it was killed."""
    with FaultProxy(server.url) as proxy:
        agent = AgentProcess(server, folder, "killed", url=proxy.url).ready()
        helpers = [AgentProcess(server, folder, "second").ready()] if second else []
        proxy.kill_at(number, agent.process.pid, when, path=LAUNCH)
        run = seed.flow_run(client, deployment)
        try:
            seed.wait_until(
                lambda: (
                    agent.process.poll() is not None
                    or seed.state_of(client, run["id"]) in seed.FINAL
                )
            )
            if not second:
                settle(0.3)
                agent.kill()
                helpers.append(AgentProcess(server, folder, "next"))
            ended = seed.wait_for_state(client, run["id"], seconds=40)
            settle()
            was_killed = agent.process.poll() == -9 and any(r.fault for r in proxy.requests)
        finally:
            for each in [agent, *helpers]:
                each.__exit__()
        events = [each.events for each in [agent, *helpers]]
        assert executions(folder).count(run["id"]) == 1, (number, when, events)
        assert ended["state_type"] == "COMPLETED", (number, when, ended["state"], events)
    return was_killed


@pytest.mark.slow
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
        for number in range(1, MOST):
            if killed_at(server, tmp_path, client, deployment, number, when, second):
                kills += 1
            elif not second:
                break
        assert second or kills >= 6
