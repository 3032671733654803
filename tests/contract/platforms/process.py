"""Local processes."""

import os
import signal
import sys
import uuid
from pathlib import Path
from typing import Any, Self

import psutil

from reconciler.infrastructure.process.processes import TOKEN_VARIABLE
from tests.contract.platform import FLOW, AgentPlace, Does


class ProcessPlatform:
    """This machine; other test processes may use it at the same time."""

    slug = "process"
    can = frozenset({Does.SUCCESS, Does.EXIT_3, Does.SLOW})
    handle_before_start = True

    def __init__(self) -> None:
        self._name = str(uuid.uuid4())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def place(self, folder: Path, *, faults: float = 0.0) -> AgentPlace:
        return AgentPlace()

    def block(self, does: Does, env: dict[str, str]) -> dict[str, Any]:
        return {
            "type": "process",
            "command": [sys.executable, "-I", "-S", "-c", FLOW],
            "env": {**env, "MATRIX": self._name},
            "stream_output": False,
        }

    def kill(self, run_id: str) -> None:
        for process in self._ours():
            if process.environ().get("PREFECT__FLOW_RUN_ID") == run_id:
                os.kill(process.pid, signal.SIGKILL)

    def at_work(self) -> list[str]:
        return self.leftovers()

    def leftovers(self) -> list[str]:
        return [f"process {process.pid}" for process in self._ours()]

    def clear(self) -> None:
        for process in self._ours():
            process.kill()

    def _ours(self) -> list[psutil.Process]:
        """List processes of launches that were made here."""
        found = []
        for process in psutil.process_iter():
            try:
                env = process.environ()
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and TOKEN_VARIABLE in env and env.get("MATRIX") == self._name:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found
