"""Amazon ECS by moto, whose tasks are containers."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.contract.platform import FLOW, AgentPlace, Does
from tests.testbed import dockerd, images
from tests.testbed.ecs import LABEL, NEVER, EcsServer
from tests.testbed.fault import Fault, FaultProxy, Rule, When

_ROLE = "arn:aws:iam::123456789012:role/execution"


class EcsPlatform:
    """One moto and one engine for a test process."""

    slug = "ecs-task"
    can = frozenset(Does)
    handle_before_start = False

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._proxies = ExitStack()
        self._engine = self._stack.enter_context(dockerd.shared())
        self._image = images.pybase(self._engine)
        self._aws = self._stack.enter_context(EcsServer(self._engine))
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        self._stack.close()

    def place(self, folder: Path, *, faults: float = 0.0) -> AgentPlace:
        if not faults:
            return AgentPlace(env=self._aws.environment())
        proxy = self._proxies.enter_context(FaultProxy(self._aws.url, seed=11))
        for fault, when in (
            (Fault.BUSY, When.BEFORE),
            (Fault.RESET, When.BEFORE),
            (Fault.RESET, When.AFTER),
        ):
            proxy.add(Rule(fault, when, share=faults / 3))
        return AgentPlace(env=self._aws.environment(proxy.url))

    def block(self, does: Does, env: dict[str, str]) -> dict[str, Any]:
        image = {Does.MISSING_IMAGE: "nothing.invalid/no/such:1", Does.NEVER_STARTS: NEVER}
        return {
            "type": "ecs-task",
            "image": image.get(does, self._image),
            "command": ["python3", "-c", FLOW],
            "env": env,
            "execution_role_arn": _ROLE,
            "configure_cloudwatch_logs": True,
            "task_start_timeout_seconds": 5 if does is Does.NEVER_STARTS else 120,
            "task_watch_poll_interval": 0.5,
        }

    def kill(self, run_id: str) -> None:
        for container in self._containers(f"{LABEL}={run_id}"):
            self._engine.docker("kill", container)

    def at_work(self) -> list[str]:
        return self._containers(LABEL, "-q")

    def leftovers(self) -> list[str]:
        running = self._aws.client("ecs").list_tasks(cluster="default")["taskArns"]
        return [*running, *self._containers(LABEL)]

    def clear(self) -> None:
        self._proxies.close()
        ecs = self._aws.client("ecs")
        for task in ecs.list_tasks(cluster="default")["taskArns"]:
            ecs.stop_task(cluster="default", task=task, reason="the test is over")
        for container in self._containers(LABEL):
            self._engine.docker("rm", "--force", container, check=False)

    def _containers(self, label: str, which: str = "-aq") -> list[str]:
        return self._engine.docker("ps", which, "--filter", f"label={label}").split()
