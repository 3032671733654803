"""The command `reconciler` from a process that has imported everything already.

Starting Python and importing takes 1.7 s of a core, the command itself about 0.2 s. So a parent
that has all modules forks for each command. What the user meets is the same: a process of its own
with its own arguments, variables, folder, streams and exit code. Only `python -m reconciler`
itself is not in it; the tests with a plain `Cli` show that.
"""

import array
import atexit
import gc
import importlib
import json
import os
import pkgutil
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import reconciler
from reconciler.cli.faults import run_to_the_end
from reconciler.cli.main import run
from tests.testbed.cli import Cli, Finished

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = "from tests.testbed.warm import serve; serve"
_MESSAGE = 1 << 20


@dataclass(frozen=True, slots=True)
class WarmCli(Cli):
    """A `Cli` whose calls start at once."""

    def __call__(
        self,
        *args: str | Path,
        env: Mapping[str, str] | None = None,
        typed: str | None = None,
        timeout: float = 180,
    ) -> Finished:
        """Run to the end, like `Cli`."""
        command = {
            "args": [str(arg) for arg in args],
            "env": self.environment(env),
            "cwd": str(self.cwd or self.home),
        }
        started = time.monotonic()
        with ExitStack() as stack:
            streams = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
            streams[0].write((typed or "").encode())
            streams[0].seek(0)
            code = _parent().run(command, streams, timeout)
            out, err = (_text(stream) for stream in streams[1:])
        return Finished(code, out, err, time.monotonic() - started)


def _text(stream: BinaryIO) -> str:
    stream.seek(0)
    return stream.read().decode()


def run_prefect(
    python: Path, args: list[str], env: Mapping[str, str], cwd: Path, timeout: float = 300
) -> Finished:
    """Run the command `prefect` of an environment, which imports everything but once.

    `PREFECT_EXTRA_ENTRYPOINTS` is read at the import: there is a parent for each.
    """
    extra = {name: env[name] for name in ("PREFECT_EXTRA_ENTRYPOINTS",) if env.get(name)}
    parent = _prefect_parent(python, tuple(extra.items()))
    command = {"args": args, "env": dict(env), "cwd": str(cwd)}
    started = time.monotonic()
    with ExitStack() as stack:
        streams = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        code = parent.run(command, streams, timeout)
        out, err = (_text(stream) for stream in streams[1:])
    return Finished(code, out, err, time.monotonic() - started)


class _Parent:
    """A process that has imported everything; it ends with ours."""

    def __init__(self, command: list[str], env: Mapping[str, str] | None = None) -> None:
        self.pid = 0
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [each.replace("SOCKET", str(theirs.fileno())) for each in command],
                pass_fds=[theirs.fileno()],
                cwd=_ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stderr=self._log,
            )

    def run(self, command: Mapping[str, Any], streams: list[BinaryIO], timeout: float) -> int:
        """Run a command and return its exit code; it is killed if it takes too long."""
        self._socket.settimeout(timeout)
        descriptors = [stream.fileno() for stream in streams]
        try:
            socket.send_fds(self._socket, [json.dumps(command).encode()], descriptors)
            self.pid = int(self._socket.recv(_MESSAGE))
        except (OSError, ValueError):
            raise AssertionError(f"the parent of commands ended:\n{_text(self._log)}") from None
        try:
            return int(self._socket.recv(_MESSAGE))
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            self._socket.recv(_MESSAGE)
            raise AssertionError(f"{command['args']} took more than {timeout} s") from None

    def close(self) -> None:
        """Let it end."""
        self._socket.close()
        self._process.wait(30)


def running() -> int:
    """Return the process id of the command that runs now, to kill it."""
    return _parent().pid


@cache
def _parent() -> _Parent:
    parent = _Parent([sys.executable, "-c", f"{_PROGRAM}(SOCKET)"])
    atexit.register(parent.close)
    return parent


@cache
def _prefect_parent(python: Path, extra: tuple[tuple[str, str], ...]) -> _Parent:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "COV"))}
    home = tempfile.mkdtemp(prefix="prefect-parent-")
    program = str(_ROOT / "tests/testbed/prefect_parent.py")
    env = {**inherited, **dict(extra), "PREFECT_HOME": home}
    parent = _Parent([str(python), "-P", program, "SOCKET"], env)
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    atexit.register(parent.close)
    return parent


def serve(descriptor: int) -> None:
    """Be the parent: take commands from a socket until its other end is closed."""
    connection = socket.socket(fileno=descriptor)
    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.freeze()
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, _MESSAGE, 3)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            connection.close()
            _become(json.loads(message), array.array("i", descriptors))
            return
        for passed in descriptors:
            os.close(passed)
        connection.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(command: Mapping[str, Any], descriptors: "array.array[int]") -> None:
    """Be the command: from here on nothing of the parent is visible, but its modules."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(command["env"])
    os.chdir(command["cwd"])
    sys.argv = ["reconciler", *command["args"]]
    run_to_the_end(run)
