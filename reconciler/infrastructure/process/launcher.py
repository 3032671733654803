"""Launches flow runs as local processes."""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, ClassVar, NoReturn

import anyio

from reconciler.blocks.base import InfrastructureSettings
from reconciler.blocks.process import ProcessSettings
from reconciler.errors import Transient
from reconciler.infrastructure.base import NotLaunchable, NotStarted, Surroundings
from reconciler.infrastructure.process.output import ProcessLogs
from reconciler.infrastructure.process.processes import (
    TOKEN_VARIABLE,
    birth,
    gone,
    leader_of,
    members,
    send,
)
from reconciler.infrastructure.process.reasons import explain
from reconciler.infrastructure.process.records import Record, Records
from reconciler.infrastructure.process.warm import Job, Started, WarmStarts
from reconciler.model.launch import Ended, Found, Handle, LaunchSpec, Sought

_GATE = 'read -r go && [ "$go" = go ] && exec "$@" </dev/null; exit 125'
"""What a child runs until it is told to go. When the agent dies first, the pipe closes and it ends."""
_POLL = 0.1
_KEEP_MARKS = 86_400.0
"""Seconds. A claim that came too late leaves a mark as well: 'never started'."""
_SWEEP_EVERY = 3600.0


@dataclass(slots=True)
class _Child:
    """A process that this agent itself started."""

    process: Started
    gate: int | None


class _Own:
    """A process that is our own child."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self._process = process

    def reap(self) -> None:
        self._process.poll()

    async def wait(self) -> int:
        return await anyio.to_thread.run_sync(self._process.wait)


class ProcessLauncher:
    """Launches flow runs as local processes, each the leader of a session of its own."""

    slug: ClassVar[str] = "process"
    local: ClassVar[bool] = True
    host_bound = True
    settings: ClassVar[type[InfrastructureSettings]] = ProcessSettings

    def __init__(self, surroundings: Surroundings) -> None:
        self._around = surroundings
        self._records = Records(surroundings.host_dir / "processes")
        self._folders = surroundings.state_dir / "work"
        self._logs = ProcessLogs(surroundings.state_dir / "runs", surroundings.output)
        self._warm = (
            WarmStarts(surroundings.python, surroundings.clock) if surroundings.warm else None
        )
        self._children: dict[str, _Child] = {}
        self._died_waiting: set[str] = set()

    def owns(self, pid: str) -> bool:
        """Tell whether a pid, `<hostname>:<pid>` as Prefect writes it, is of this host."""
        host, _, number = pid.rpartition(":")
        return host == socket.gethostname() and number.isdigit()

    async def find(self, sought: Sought) -> Found | None:
        """Look a launch up: by its mark on disk, else among all processes of the host."""
        token, run_id = sought.token, sought.flow_run_id
        record = self._records.read(token)
        if record is not None:
            alive = birth(record.pid) == record.birth
            return Found(_handle(record), started=record.started, alive=alive)
        leader = leader_of(token)
        born = None if leader is None else birth(leader)
        if leader is None or born is None:
            return None
        record = Record(run_id, token, leader, born, started=True)
        self._records.write(record)
        return Found(_handle(record), started=True, alive=True)

    async def create(self, spec: LaunchSpec) -> Handle:
        """Make a process that waits at its gate.

        Raises:
            NotLaunchable: the command or the working directory does not exist.
            NotStarted: the state directory can't be written (a full disk).
        """
        settings = spec.settings
        assert isinstance(settings, ProcessSettings)  # noqa: S101 - for the type checker
        with _writing_state(), self._logs.open(spec.flow_run_id) as log:
            folder = None if settings.working_dir else self._new_folder(spec.flow_run_id)
            try:
                where = str(folder or settings.working_dir)
                with _held(spec.code) as locks:
                    child = await self._make(spec, where, log, locks)
            except (NotLaunchable, NotStarted):
                _remove(folder)
                raise
        pid = child.process.pid
        record = Record(
            spec.flow_run_id,
            spec.token,
            pid,
            birth(pid) or "",
            folder=None if folder is None else str(folder),
        )
        self._children[spec.token] = child
        try:
            with _writing_state():
                self._records.write(record)
        except NotStarted:
            # Without a mark nobody would ever end it.
            await self.discard(_handle(record))
            _remove(folder)
            raise
        if settings.stream_output:
            self._logs.follow(spec.flow_run_id)
        return _handle(record)

    async def start(self, handle: Handle) -> Handle:
        """Note that the run starts, then open its gate.

        Raises:
            NotLaunchable: the process is not ours to start.
            Transient: it was killed while it waited. It did nothing yet, so the next survey makes
                another one.
            NotStarted: that happened to the second one, too, or its mark can't be written.
        """
        record = self._records.read(handle.token)
        child = self._children.get(handle.token)
        if record is None or child is None or child.gate is None:
            raise NotLaunchable("the waiting process was made by an agent that is gone")
        with _writing_state():
            self._records.write(replace(record, started=True))
        gate, child.gate = child.gate, None
        try:
            os.write(gate, b"go\n")
        except BrokenPipeError:
            self._records.write(record)
            await self._report_death(child, handle.token)
        finally:
            os.close(gate)
        self._died_waiting.discard(handle.token)
        return handle

    async def _report_death(self, child: _Child, token: str) -> NoReturn:
        code = await child.process.wait()
        message = f"the process ended before it was started: {explain(code)}"
        if token in self._died_waiting:
            self._died_waiting.discard(token)
            raise NotStarted(message) from None
        self._died_waiting.add(token)
        raise Transient(message) from None

    async def ended(self, handle: Handle) -> Ended:
        """Wait until the process ends, whoever its parent is."""
        record = self._records.read(handle.token)
        pid = _number(handle)
        with contextlib.suppress(ProcessLookupError):
            await gone(pid, None if record is None else record.birth)
        child = self._children.get(handle.token)
        code = None if child is None else await child.process.wait()
        self._logs.flush(handle.flow_run_id)
        return Ended(code, explain(code), self._logs.tail(handle.flow_run_id, 10))

    async def stop(self, handle: Handle, grace: float) -> None:
        """End the whole process group, and what left it but carries the launch token."""
        record = self._records.read(handle.token)
        pid = _number(handle)
        born = "" if record is None else record.birth
        self._close_gate(handle.token)
        clock = self._around.clock
        killed_from = clock.monotonic() + grace
        told: set[int] = set()
        while alive := self._living(handle.token, pid, born):
            if clock.monotonic() >= killed_from:
                send(alive, signal.SIGKILL)
            else:
                send([p for p in alive if p not in told], signal.SIGTERM)
                told.update(alive)
            await clock.sleep(_POLL)

    async def discard(self, handle: Handle) -> None:
        """Remove the run's folder and its mark; end a process that was never started.

        The mark of a launch that was never started stays: it tells the next agent just that.
        """
        self._close_gate(handle.token)
        child = self._children.pop(handle.token, None)
        if child is not None:
            await child.process.wait()
        record = self._records.read(handle.token)
        if record is not None:
            await anyio.to_thread.run_sync(_remove, record.folder)
            if record.started:
                self._records.remove(handle.token)
        self._logs.forget(handle.flow_run_id)

    async def logs(self, sought: Sought, lines: int) -> tuple[str, ...]:
        """Return the last lines of a run's output."""
        return self._logs.tail(sought.flow_run_id, lines)

    async def watch(self) -> None:
        """Pass streamed output on. The ends of processes come from the kernel by themselves."""
        clock = self._around.clock
        swept = None
        self._prepare()
        try:
            while True:
                if swept is None or clock.monotonic() - swept > _SWEEP_EVERY:
                    self._sweep()
                    swept = clock.monotonic()
                if self._warm is not None:
                    self._warm.tidy()
                self._logs.pass_on()
                await clock.sleep(_POLL * 5)
        finally:
            await self.close()

    async def close(self) -> None:
        """End the helper processes of warm starts."""
        if self._warm is not None:
            self._warm.close()

    async def preflight(self, settings: InfrastructureSettings, api_url: str) -> tuple[str, ...]:  # noqa: ARG002
        """Say what is missing on this machine."""
        assert isinstance(settings, ProcessSettings)  # noqa: S101 - for the type checker
        problems = []
        if not settings.command and shutil.which(self._around.python) is None:
            problems.append(f"the Python of local flow runs, {self._around.python}, does not exist")
        if settings.working_dir and not _is_folder(settings.working_dir):
            problems.append(f"working_dir {settings.working_dir} is no folder on this machine")
        return tuple(problems)

    def _prepare(self) -> None:
        """Have a helper ready where flow runs were launched before: the first starts at once then.

        Only for runs without variables of their own; nobody knows those of others yet.
        """
        if self._warm is None or self._around.ahead is None or not self._folders.is_dir():
            return
        self._warm.prepare({**self._around.inherited(), **self._around.ahead})

    def _living(self, token: str, pid: int, born: str) -> list[int]:
        child = self._children.get(token)
        if child is not None:
            child.process.reap()
        return members(token, pid, born)

    def _close_gate(self, token: str) -> None:
        child = self._children.get(token)
        if child is not None and child.gate is not None:
            os.close(child.gate)
            child.gate = None

    def _environment(self, spec: LaunchSpec) -> dict[str, str]:
        merged: dict[str, str | None] = {**self._around.inherited(), **spec.env}
        merged[TOKEN_VARIABLE] = spec.token
        return {name: value for name, value in merged.items() if value is not None}

    def _new_folder(self, run_id: str) -> Path:
        self._folders.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{run_id}-", dir=self._folders))

    async def _make(
        self, spec: LaunchSpec, where: str, log: BinaryIO, locks: tuple[int, ...]
    ) -> _Child:
        """Make the process, warm if that is possible."""
        if not _is_folder(where):
            raise NotLaunchable(f"working_dir {where} is no folder on this machine")
        env = self._environment(spec)
        command = spec.command or (self._around.python, "-m", "prefect.engine")
        if shutil.which(command[0], path=env.get("PATH")) is None and "/" not in command[0]:
            raise NotLaunchable(f"the command {command[0]!r} is not on the PATH of the flow run")
        inner, gate = os.pipe()
        process: Started | None = None
        try:
            if self._warm is not None and not spec.command:
                job = Job(env, where, spec.token, gate=inner, log=log.fileno(), held=locks)
                process = await self._warm.fork(job)
            if process is None:
                process = _spawn(command, env, where, (inner, log, locks))
        finally:
            os.close(inner)
            if process is None:
                os.close(gate)
        return _Child(process, gate)

    def _sweep(self) -> None:
        """Remove the marks and folders of runs that ended while no agent looked."""
        for record in self._records.older_than(_KEEP_MARKS, self._around.clock.now().timestamp()):
            if birth(record.pid) != record.birth:
                _remove(record.folder)
                self._records.remove(record.token)


def _spawn(
    command: tuple[str, ...],
    env: Mapping[str, str],
    where: str,
    streams: tuple[int, BinaryIO, tuple[int, ...]],
) -> _Own:
    """Start a shell that waits at its gate and then becomes the command."""
    gate, log, locks = streams
    try:
        process = subprocess.Popen(  # noqa: S603 - the command is the user's own
            ["/bin/sh", "-c", _GATE, "sh", *command],
            stdin=gate,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=where,
            env=env,
            start_new_session=True,
            pass_fds=locks,
        )
    except (OSError, ValueError) as error:
        raise NotLaunchable(f"the process can't be started: {error}") from None
    return _Own(process)


@contextlib.contextmanager
def _held(code: Path | None) -> Iterator[tuple[int, ...]]:
    """Lock the folder with the flow's code; who inherits the descriptors keeps it locked.

    Raises:
        NotStarted: it is gone, or about to go.
    """
    if code is None:
        yield ()
        return
    try:
        descriptor = os.open(code, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise NotStarted(f"the flow code in {code} can't be read: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield (descriptor,)
    except BlockingIOError:
        raise NotStarted(f"the flow code in {code} is being removed") from None
    finally:
        os.close(descriptor)


def _handle(record: Record) -> Handle:
    return Handle(record.token, record.run_id, f"{socket.gethostname()}:{record.pid}")


def _number(handle: Handle) -> int:
    return int((handle.pid or "").rpartition(":")[2])


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:  # a name that is too long, say
        return False


@contextlib.contextmanager
def _writing_state() -> Iterator[None]:
    """Name the trouble when a full disk, or a folder that is gone, takes no mark and no log."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise NotStarted(f"the agent's state directory can't be written: {reason}") from None


def _remove(folder: Path | str | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
