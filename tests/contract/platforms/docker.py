"""A real Docker engine."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from reconciler.infrastructure.docker.request import RUN_LABEL, TOKEN_LABEL
from tests.contract.platform import FLOW, AgentPlace, Does
from tests.testbed import dockerd, images
from tests.testbed.fault import Fault, FaultProxy, Rule, When


class DockerPlatform:
    """One engine for a test process."""

    slug = "docker-container"
    can = frozenset({Does.SUCCESS, Does.EXIT_3, Does.SLOW, Does.MISSING_IMAGE})
    handle_before_start = True

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._proxies = ExitStack()
        self._engine = self._stack.enter_context(dockerd.shared())
        self._image = images.pybase(self._engine)
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        self._stack.close()

    def place(self, folder: Path, *, faults: float = 0.0) -> AgentPlace:
        if not faults:
            return AgentPlace({"docker_host": self._engine.url})
        proxy = self._proxies.enter_context(
            FaultProxy(
                "http://localhost",
                seed=11,
                socket=self._engine.socket,
                streams=r"/events|follow=1",
            )
        )
        for fault, when in (
            (Fault.BUSY, When.BEFORE),
            (Fault.RESET, When.BEFORE),
            (Fault.RESET, When.AFTER),
        ):
            proxy.add(Rule(fault, when, share=faults / 3))
        return AgentPlace({"docker_host": proxy.url.replace("http://", "tcp://")})

    def block(self, does: Does, env: dict[str, str]) -> dict[str, Any]:
        missing = does is Does.MISSING_IMAGE
        return {
            "type": "docker-container",
            "image": "127.0.0.1:1/no/such:1" if missing else self._image,
            "command": ["python3", "-c", FLOW],
            "env": env,
            "auto_remove": True,
        }

    def kill(self, run_id: str) -> None:
        for container in self._containers(f"{RUN_LABEL}={run_id}"):
            self._engine.docker("kill", container)

    def at_work(self) -> list[str]:
        return self._containers(TOKEN_LABEL, "-q")

    def leftovers(self) -> list[str]:
        return self._containers(TOKEN_LABEL)

    def clear(self) -> None:
        self._proxies.close()
        for container in self._containers(TOKEN_LABEL):
            self._engine.docker("rm", "--force", container, check=False)

    def _containers(self, label: str, which: str = "-aq") -> list[str]:
        return self._engine.docker("ps", which, "--filter", f"label={label}").split()
