"""Azure Container Instances by a server on this machine, whose groups are containers."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.contract.platform import FLOW, AgentPlace, Does
from tests.testbed import dockerd, images
from tests.testbed.azure import GROUP, SUBSCRIPTION, Azure
from tests.testbed.containers import NEVER, containers
from tests.testbed.fault import Fault, FaultProxy, Rule, When


class AzurePlatform:
    """One server and one engine for a test process."""

    slug = "azure-container-instance-job"
    can = frozenset(Does)
    handle_before_start = True

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._proxies = ExitStack()
        self._engine = self._stack.enter_context(dockerd.shared())
        self._image = images.pybase(self._engine)
        self._cloud = self._stack.enter_context(Azure(self._engine))
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        self._stack.close()

    def place(self, folder: Path, *, faults: float = 0.0) -> AgentPlace:
        url = self._cloud.url
        if faults:
            proxy = self._proxies.enter_context(
                FaultProxy(url, seed=11, certificate=self._cloud.certificate)
            )
            for fault, when in (
                (Fault.BUSY, When.BEFORE),
                (Fault.RESET, When.BEFORE),
                (Fault.RESET, When.AFTER),
            ):
                proxy.add(Rule(fault, when, path="containerGroups", share=faults / 3))
            url = proxy.url
        return AgentPlace(
            {
                "azure_endpoint": url,
                "azure_authority": self._cloud.url,
                "ca_file": str(self._cloud.ca_file),
            }
        )

    def block(self, does: Does, env: dict[str, str]) -> dict[str, Any]:
        image = {Does.MISSING_IMAGE: "nothing.invalid/no/such:1", Does.NEVER_STARTS: NEVER}
        return {
            "type": "container-instance-job",
            "image": image.get(does, self._image),
            "aci_credentials": self._cloud.credentials(),
            "resource_group_name": GROUP,
            "subscription_id": SUBSCRIPTION,
            "entrypoint": None,
            "command": ["python3", "-c", FLOW],
            "env": env,
            "task_start_timeout_seconds": 5 if does is Does.NEVER_STARTS else 240,
            "task_watch_poll_interval": 0.5,
        }

    def kill(self, run_id: str) -> None:
        for container in containers(self._engine, run_id):
            self._engine.docker("kill", container)

    def at_work(self) -> list[str]:
        return containers(self._engine, ended=False)

    def leftovers(self) -> list[str]:
        return [*self._cloud.groups, *containers(self._engine)]

    def clear(self) -> None:
        self._proxies.close()
        self._cloud.clear()
        for container in containers(self._engine):
            self._engine.docker("rm", "--force", container, check=False)
