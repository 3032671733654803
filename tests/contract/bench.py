"""A server, a platform and agents: what every scenario of the matrix starts from."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from tests.contract.notebook import Notebook
from tests.contract.platform import Does, Platform
from tests.integration.agents import AgentProcess, infrastructure_block
from tests.testbed import seed
from tests.testbed.fault import FaultProxy
from tests.testbed.prefect import PrefectServer

LONG = 150
"""Seconds that anything may take on a busy machine."""


class Bench:
    """See the module's text."""

    def __init__(
        self,
        server: PrefectServer,
        client: httpx.Client,
        platform: Platform,
        notebook: Notebook,
        folder: Path,
    ) -> None:
        self.server, self.client, self.platform = server, client, platform
        self.notebook, self.folder = notebook, folder
        self.agents: list[AgentProcess] = []
        self._stack = ExitStack()

    def proxy(self) -> FaultProxy:
        """Put a fault proxy in front of the Prefect server."""
        return self._stack.enter_context(FaultProxy(self.server.url))

    def agent(
        self, name: str = "one", *, url: str | None = None, faults: float = 0.0, **options: Any
    ) -> AgentProcess:
        """Start an agent in a process of its own."""
        place = self.platform.place(self.folder, faults=faults)
        agent = AgentProcess(
            self.server,
            self.folder,
            name,
            url,
            platforms=place.platforms,
            env=place.env,
            **options,
        )
        self.agents.append(self._stack.enter_context(agent))
        return agent

    def deploy(self, does: Does, **fields: Any) -> str:
        """Make a deployment whose runs do that; return its id."""
        if does not in self.platform.can:
            raise ValueError(f"{self.platform.slug} can't be made to do that: {does}")
        env = {"DOES": does.value, "NOTEBOOK_URL": self.notebook.url}
        name = does.value.replace(" ", "-")
        data = self.platform.block(does, env)
        block = infrastructure_block(self.client, self.platform.slug, name, data)
        made = seed.deployment(
            self.client,
            name,
            work_pool_name="default-agent-pool",
            infrastructure_document_id=block,
            enforce_parameter_schema=False,
            **fields,
        )
        return str(made["id"])

    def run(self, does: Does = Does.SUCCESS, **fields: Any) -> str:
        """Make a deployment and one run of it that is due; return the run's id."""
        return str(seed.flow_run(self.client, self.deploy(does, **fields))["id"])

    def ended(self, run: str, *wanted: str) -> dict[str, Any]:
        """Wait for the end of a run, and return its last state."""
        found = seed.wait_for_state(self.client, run, wanted or seed.FINAL, seconds=LONG)
        state: dict[str, Any] = found["state"]
        return state

    def running(self, run: str) -> dict[str, Any]:
        """Wait until a run's flow runs; return the run."""
        seed.wait_until(lambda: run in self.notebook.executions(), seconds=LONG)
        return seed.wait_for_state(self.client, run, "RUNNING", seconds=LONG)

    def cancel(self, run: str) -> None:
        """Wish that a run be cancelled, as people do."""
        body = {"state": {"type": "CANCELLING"}}
        seed.request(self.client, "POST", f"/flow_runs/{run}/set_state", body)

    def executed_once(self, *runs: str) -> None:
        """Check that these runs were executed once each and nothing else was."""
        assert sorted(self.notebook.executions()) == sorted(runs), self.story()

    def nothing_left(self) -> None:
        """Check that the platform becomes, and stays, empty of us."""
        try:
            seed.wait_until(lambda: not self.platform.leftovers(), seconds=LONG)
        except TimeoutError:
            raise AssertionError((self.platform.leftovers(), self.story())) from None

    def story(self) -> str:
        """Return what each agent told, for messages."""
        return "\n\n".join("\n".join(agent.events) for agent in self.agents)

    def close(self) -> None:
        """End all agents and proxies."""
        self._stack.close()
