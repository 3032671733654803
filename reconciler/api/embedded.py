"""An embedded Prefect server: a child process with a SQLite database in the state directory."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import anyio
import anyio.abc
import httpx

from reconciler.errors import Unreachable, UsageError
from reconciler.runtime.clock import Clock

_START_SECONDS = 120.0
_STOP_SECONDS = 10.0
_LOCK_SECONDS = 10.0  # a server whose parent was killed needs a moment to end
_TAIL = 15
_CHILD = Path(__file__).with_name("embedded_child.py")


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server.

    Attributes:
        url: of its API.
        ui: of its pages.
        log: file with its output.
    """

    url: str
    ui: str
    log: Path


def require_prefect(
    python: str = sys.executable, *, find: Callable[[str], object | None] = find_spec
) -> None:
    """Check that the extra is installed.

    Args:
        python: the interpreter that is to run the server; another one than ours knows by itself.
        find: finds a module.

    Raises:
        UsageError: with the command that installs it.
    """
    if python == sys.executable and find("prefect") is None:
        raise UsageError(
            "Prefect is not installed here, so there is no server to embed",
            hint="pip install 'prefect-reconciler[server]', or set PREFECT_API_URL to a running one",
        )


@asynccontextmanager
async def embedded_server(
    folder: Path,
    environ: Mapping[str, str],
    clock: Clock,
    *,
    python: str = sys.executable,
    port: int = 4200,
) -> AsyncIterator[EmbeddedServer]:
    """Run a server for the time of the block, on `port` or, if that is taken, on a free one.

    It ends with this process, however this one ends, and one server at a time uses a folder.

    Args:
        folder: where the database and the log live; kept between starts.
        environ: environment of the child; `PREFECT_*` in it is dropped, so that no profile or
            setting of the user's leaks into it.
        clock: for waiting.
        python: interpreter with Prefect.
        port: wanted port on 127.0.0.1.

    Raises:
        UsageError: Prefect is not installed, or another server uses the folder.
        Unreachable: it did not come up; the message has the end of its log.
    """
    require_prefect(python)
    with _lock_file(folder) as lock:
        await _lock(lock, folder, clock)
        try:
            server, process = await _up(folder, environ, clock, python, port, lock)
        except _Ended:
            # Prefect takes seconds to its port, in which somebody else may have taken it.
            server, process = await _up(folder, environ, clock, python, 0, lock)
        try:
            yield server
        finally:
            with anyio.CancelScope(shield=True):
                await _stop(process)


class _Ended(Unreachable):
    """The process ended before it answered."""


async def _up(
    folder: Path, environ: Mapping[str, str], clock: Clock, python: str, port: int, lock: int
) -> tuple[EmbeddedServer, anyio.abc.Process]:
    """Start a server and wait until it answers."""
    chosen = _free_port(port)
    page = f"http://127.0.0.1:{chosen}"
    server = EmbeddedServer(f"{page}/api", page, folder / "server.log")
    environment = _child_environment(environ, folder, chosen)
    process = await _start(python, chosen, environment, server.log, lock)
    try:
        await _wait_until_up(server, process, clock)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await _stop(process)
        raise
    return server, process


@contextmanager
def _lock_file(folder: Path) -> Iterator[int]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def _lock(descriptor: int, folder: Path, clock: Clock) -> None:
    """Take the folder for us alone; the server inherits the lock, so that it holds while it lives."""
    deadline = clock.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.monotonic() > deadline:
                raise UsageError(
                    f"another `reconciler up` runs the Prefect server in {folder}",
                    hint="stop that one, or set RECONCILER_STATE_DIR to another folder",
                ) from None
            await clock.sleep(0.2)
        else:
            return


async def _start(
    python: str, port: int, environment: Mapping[str, str], log: Path, lock: int
) -> anyio.abc.Process:
    start = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("ab") as output:
        return await anyio.open_process(
            [python, "-P", str(_CHILD), *start],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(lock,),
        )


def _child_environment(environ: Mapping[str, str], folder: Path, port: int) -> dict[str, str]:
    kept = {k: v for k, v in environ.items() if not k.startswith(("PREFECT_", "RECONCILER_"))}
    return {
        **kept,
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Unreachable("no free port on 127.0.0.1 for the embedded server")


async def _wait_until_up(server: EmbeddedServer, process: anyio.abc.Process, clock: Clock) -> None:
    deadline = clock.monotonic() + _START_SECONDS
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        while clock.monotonic() < deadline:
            if process.returncode is not None:
                raise _Ended(
                    f"the embedded Prefect server ended with {process.returncode}:\n{_tail(server.log)}"
                )
            if await _answers(client, server):
                return
            await clock.sleep(0.2)
    raise Unreachable(
        f"the embedded Prefect server did not answer within {_START_SECONDS:.0f} s:\n{_tail(server.log)}"
    )


async def _answers(client: httpx.AsyncClient, server: EmbeddedServer) -> bool:
    """Tell whether it is this server that answers, and not somebody else's on the same port."""
    try:
        answer = await client.get(f"{server.url}/admin/settings")
        return answer.is_success and answer.json()["home"] == str(server.log.parent)
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return False


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL:])


async def _stop(process: anyio.abc.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
        with anyio.move_on_after(_STOP_SECONDS):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
    await process.aclose()
