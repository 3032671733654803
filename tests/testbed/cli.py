"""The command `reconciler` as users run it: a process of its own, with nothing of ours inherited.

Coverage follows into it (`patch = ["subprocess"]` in pyproject.toml), except where it is killed.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

COMMAND = [sys.executable, "-m", "reconciler"]
# A color would change texts, a width their line ends; what a developer's shell says must not count.
_OURS = ("PREFECT_", "RECONCILER_", "FORCE_COLOR", "CLICOLOR", "COLUMNS", "CI", "GITHUB_", "PYTEST")


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended.

    Attributes:
        code: exit code; negative: the signal that killed it.
        stdout: what it printed, as text.
        stderr: the same.
        seconds: how long it took.
    """

    code: int
    stdout: str
    stderr: str
    seconds: float

    def json(self) -> Any:
        """Return stdout as JSON; there must be nothing else in it."""
        return json.loads(self.stdout)

    @property
    def output(self) -> str:
        """Both streams."""
        return self.stdout + self.stderr


@dataclass(frozen=True, slots=True)
class Cli:
    """Runs `reconciler` in a folder with fixed variables.

    Attributes:
        home: HOME, PREFECT_HOME and the state directory lie below it.
        env: variables for every call, for example `server.client_env`.
        cwd: working directory; `home` by default.
    """

    home: Path
    env: Mapping[str, str]
    cwd: Path | None = None

    def __call__(
        self,
        *args: str | Path,
        env: Mapping[str, str] | None = None,
        typed: str | None = None,
        timeout: float = 120,
    ) -> Finished:
        """Run to the end.

        Args:
            args: as on the command line.
            env: more variables.
            typed: what stands on stdin; nothing by default.
            timeout: seconds after which the test fails.
        """
        started = time.monotonic()
        done = subprocess.run(
            [*COMMAND, *map(str, args)],
            env=self.environment(env),
            cwd=self.cwd or self.home,
            input=typed or "",
            capture_output=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr, time.monotonic() - started)

    def start(self, *args: str | Path, env: Mapping[str, str] | None = None) -> "Running":
        """Start a command that goes on (`agent`, `up`), as a context manager."""
        return Running([*COMMAND, *map(str, args)], self.environment(env), self.cwd or self.home)

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return all variables that a call gets."""
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(_OURS)}
        return {
            **inherited,
            "HOME": str(self.home),
            "PREFECT_HOME": str(self.home / "prefect"),
            "RECONCILER_STATE_DIR": str(self.home / "state"),
            **self.env,
            **(env or {}),
        }


class Running:
    """A command in the background, in a process group of its own; its output grows in a file."""

    def __init__(self, command: list[str], env: Mapping[str, str], cwd: Path) -> None:
        self.log = cwd / f"output-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """Everything that it printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """Wait until its output matches a regular expression.

        Raises:
            AssertionError: it ended or took too long; the message shows the output.
        """
        deadline = time.monotonic() + seconds
        while True:
            ended = self.code is not None
            found = re.search(pattern, self.output)
            if found:
                return found
            late = time.monotonic() > deadline
            assert not ended, f"ended with {self.code} before {pattern!r}:\n{self.output}"
            assert not late, f"no {pattern!r} within {seconds} s:\n{self.output}"
            time.sleep(0.05)

    def wait(self, seconds: float = 60) -> int:
        """Wait for its end; return the exit code."""
        return self._process.wait(seconds)

    def terminate(self) -> None:
        """Send SIGTERM, as a container engine does to stop it."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL to it alone; what it started lives on."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.code is None:
            self.terminate()
            try:
                self.wait(15)
            except subprocess.TimeoutExpired:
                self._end_group()

    def _end_group(self) -> None:
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
