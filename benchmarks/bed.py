"""What all benchmarks share: measured processes, pairs, and tables for `docs/benchmarks.md`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from tests.testbed.postgres import Postgres
from tests.testbed.prefect import PrefectServer

RECONCILER = Path(sys.executable).with_name("reconciler")


@dataclass(frozen=True, slots=True)
class Taken:
    """What something took.

    Attributes:
        seconds: from start to end, by the clock.
        cpu: seconds of a core, all its processes.
    """

    seconds: float
    cpu: float


class Measured:
    """A long-lived process whose CPU is counted, that of its descendants included.

    They count when they were waited for, by the kernel's own account (`wait4`): so the count is
    whole after `stop`.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.log = log
        # A shell that runs us in the background lets us ignore it, and children would do so, too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                env=clean_environment(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._from = 0.0

    def mark(self) -> None:
        """Count from now on."""
        used = psutil.Process(self.process.pid).cpu_times()
        self._from = used.user + used.system + used.children_user + used.children_system

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.stop()

    def stop(self) -> float:
        """End it as a user would; return the seconds of CPU since the mark."""
        self.process.send_signal(signal.SIGINT)
        _, _, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = 0
        return usage.ru_utime + usage.ru_stime - self._from


@contextmanager
def on_postgres(version: int) -> Iterator[PrefectServer]:
    """Start a server that keeps its data in PostgreSQL, as one with thousands of objects does."""
    with Postgres() as database:
        env = {
            "PREFECT_API_DATABASE_CONNECTION_URL": database.url,
            "PREFECT_API_BLOCKS_REGISTER_ON_START": "true",
        }
        with PrefectServer(version, env=env) as server:
            yield server


def run(command: Sequence[str], env: Mapping[str, str], *, cwd: Path | None = None) -> Taken:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed; the message has its output.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=clean_environment(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{output[-4000:]}")
    return Taken(time.perf_counter() - began, usage.ru_utime + usage.ru_stime)


def clean_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without settings of Prefect or ours, and `env` over it."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "RECONCILER_"))}
    return mine | dict(env)
