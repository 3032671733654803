"""Warm starts: flow runs forked from a helper process that has Prefect imported already.

A cold start imports Prefect anew, seconds of a core for each run; a fork takes none of that. What
is forked is a process of its own: session, environment, working directory, settings. A helper
(`helper.py`) serves one environment only, whole and to the letter, and never runs flow code itself,
so nothing gets from one run into another.

Whatever hinders it, the run is started cold, and nobody has to know.
"""

import contextlib
import json
import os
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import anyio

from reconciler.infrastructure.process.processes import TOKEN_VARIABLE, birth, gone
from reconciler.runtime.clock import Clock

_HELPER = Path(__file__).with_name("helper.py")
_OF_ONE_RUN = "PREFECT__"
"""Prefix of the variables that differ from run to run, by Prefect's convention; no import reads them."""
_MOST = 4
"""Helpers at a time, of some 100 MB each, most of it shared with the runs."""
_IDLE = 600.0
_AGAIN_AFTER = 600.0
"""Seconds until a Python that could not be forked from is tried again."""
_REMEMBERED = 256
"""Environments that were seen lately, so that one which comes again is known."""
_READY_WITHIN = 60.0
_FORK_WITHIN = 10.0
_CODE_WITHIN = 5.0
_LONGEST_MESSAGE = 1 << 20


class Started(Protocol):
    """A process that this agent started, itself or through a helper."""

    pid: int

    def reap(self) -> None:
        """Let the kernel forget it, if it ended."""

    async def wait(self) -> int | None:
        """Wait for its end; return the exit code, negative for a signal, None if unknown."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be started.

    Attributes:
        env: the whole environment of the run.
        cwd: its working directory.
        token: the launch token.
        gate: descriptor; the process waits there for `go`.
        log: descriptor, where its output goes.
        held: descriptors that it holds open as long as it lives.
    """

    env: Mapping[str, str] = field(repr=False)
    cwd: str
    token: str
    gate: int
    log: int
    held: tuple[int, ...] = ()


class WarmStarts:
    """The helpers of one Python."""

    def __init__(self, python: str, clock: Clock) -> None:
        """Take the interpreter of the flow runs, and a clock that tells idle helpers."""
        self._python = python
        self._clock = clock
        self._helpers: dict[frozenset[tuple[str, str]], _Helper] = {}
        self._retired: list[_Helper] = []
        self._seen: deque[int] = deque(maxlen=_REMEMBERED)
        self._not_before: dict[int, float] = {}

    async def fork(self, job: Job) -> Started | None:
        """Make a process that waits at its gate; None if this one has to be started cold."""
        if _depends_on_folder(job.env):
            return None
        shared = _shared(job.env)
        helper = self._helper(shared)
        if helper is None:
            return None
        helper.used = self._clock.monotonic()
        try:
            return await helper.fork(job)
        except _NoHelpError:
            self._not_before[hash(_key(shared))] = self._clock.monotonic() + _AGAIN_AFTER
            self._retire(_key(shared))
            return None

    def prepare(self, env: Mapping[str, str]) -> None:
        """Start the helper of an environment before a run needs it."""
        helper = None if _depends_on_folder(env) else self._helper(_shared(env))
        if helper is not None:
            helper.used = self._clock.monotonic()

    def tidy(self) -> None:
        """End helpers that nobody needs any more."""
        now = self._clock.monotonic()
        for key, helper in list(self._helpers.items()):
            if now - helper.used > _IDLE:
                self._retire(key)
        self._retired = [each for each in self._retired if not each.end_if_childless()]
        self._not_before = {key: at for key, at in self._not_before.items() if at > now}

    def close(self) -> None:
        """End all helpers; what they started runs on."""
        for helper in (*self._helpers.values(), *self._retired):
            helper.end()
        self._helpers.clear()
        self._retired.clear()

    def _helper(self, env: Mapping[str, str]) -> "_Helper | None":
        key = _key(env)
        known = self._helpers.get(key)
        if known is not None and not known.outdated():
            return known
        self._retire(key)
        if self._not_before.get(hash(key), 0.0) > self._clock.monotonic():
            return None
        if len(self._helpers) >= _MOST:
            # An environment that comes once only is not worth what another's helper saves.
            if hash(key) not in self._seen:
                self._seen.append(hash(key))
                return None
            self._retire(min(self._helpers, key=lambda each: self._helpers[each].used))
        try:
            helper = _Helper(self._python, env)
        except OSError:
            return None
        self._helpers[key] = helper
        return helper

    def _retire(self, key: frozenset[tuple[str, str]]) -> None:
        helper = self._helpers.pop(key, None)
        if helper is not None and not helper.end_if_childless():
            self._retired.append(helper)


class _NoHelpError(Exception):
    """A helper is gone, or can't fork."""


class _Helper:
    """One helper process and what it said."""

    def __init__(self, python: str, env: Mapping[str, str]) -> None:
        """Start it.

        Raises:
            OSError: it can't be started.
        """
        self.used = 0.0
        self.children: set[int] = set()
        self._codes: dict[int, int] = {}
        self._forked: dict[int, int] = {}
        self._stamps: list[tuple[str, int]] | None = None
        self._orders = 0
        self._lock = anyio.Lock()
        self._socket, its_own = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(0)
        with its_own:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - a script of ours
                    [python, str(_HELPER), str(its_own.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={**env, TOKEN_VARIABLE: "-" * 36},
                    start_new_session=True,
                    pass_fds=(its_own.fileno(),),
                )
            except OSError:
                self._socket.close()
                raise

    def outdated(self) -> bool:
        """Tell whether what it imported has changed since: packages, or files of their own."""
        self._hear_that_it_is_ready()
        return any(_modified(path) != stamp for path, stamp in self._stamps or ())

    def _hear_that_it_is_ready(self) -> None:
        """Take note of it before a fork asks: it may have been ready, and is outdated by now."""
        if self._stamps is None:
            with contextlib.suppress(OSError):
                told = self._socket.recv(_LONGEST_MESSAGE, socket.MSG_PEEK)
                if told and "ready" in json.loads(told):
                    self._hear(json.loads(self._socket.recv(_LONGEST_MESSAGE)))

    async def fork(self, job: Job) -> Started:
        """Have it make a process.

        Raises:
            _NoHelpError: it did not.
        """
        async with self._lock:
            await self._until(lambda: self._stamps is not None, _READY_WITHIN)
            self._orders += 1
            order = self._orders
            with _memory_file(job) as wanted:
                self._send(order, (wanted, job.gate, job.log, *job.held))
                await self._until(lambda: order in self._forked, _FORK_WITHIN)
        pid = self._forked.pop(order)
        self.children.add(pid)
        return _Forked(pid, self)

    async def code_of(self, pid: int) -> int | None:
        """Return the exit code of a process that is gone; None if nobody can tell."""
        async with self._lock:
            with contextlib.suppress(_NoHelpError):
                await self._until(lambda: pid in self._codes, _CODE_WITHIN)
        self.children.discard(pid)
        return self._codes.pop(pid, None)

    def end_if_childless(self) -> bool:
        """End it if none of what it started lives; tell whether so."""
        if self.children:
            return False
        self.end()
        return True

    def end(self) -> None:
        """End it at once: it holds nothing, and what it started runs on."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def _send(self, order: int, descriptors: tuple[int, ...]) -> None:
        try:
            socket.send_fds(self._socket, [json.dumps({"fork": order}).encode()], descriptors)
        except OSError as error:
            raise _NoHelpError from error

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        with anyio.move_on_after(seconds):
            while not condition():
                try:
                    data = self._socket.recv(_LONGEST_MESSAGE)
                except BlockingIOError:
                    await anyio.wait_readable(self._socket)
                    continue
                except OSError as error:
                    raise _NoHelpError from error
                if not data:
                    break
                self._hear(json.loads(data))
        if not condition():
            raise _NoHelpError

    def _hear(self, message: dict[str, Any]) -> None:
        match message:
            case {"ready": stamps}:
                self._stamps = [(path, stamp) for path, stamp in stamps]
            case {"forked": order, "pid": pid}:
                self._forked[order] = pid
            case {"ended": pid, "code": code}:
                self._codes[pid] = code
            case _:
                raise _NoHelpError


class _Forked:
    """A process that a helper forked."""

    def __init__(self, pid: int, helper: _Helper) -> None:
        self.pid = pid
        self._born = birth(pid)
        self._helper = helper
        self._ended = False
        self._code: int | None = None

    def reap(self) -> None:
        """Nothing to do: its parent is the helper."""

    async def wait(self) -> int | None:
        """Wait for its end, and ask the helper for the code."""
        if not self._ended:
            with contextlib.suppress(ProcessLookupError):
                await gone(self.pid, self._born)
            self._code = await self._helper.code_of(self.pid)
            self._ended = True
        return self._code


def _shared(env: Mapping[str, str]) -> dict[str, str]:
    """Return what all runs of an environment have in common."""
    return {k: v for k, v in env.items() if not k.startswith(_OF_ONE_RUN)}


def _depends_on_folder(env: Mapping[str, str]) -> bool:
    """Tell whether Python would look for modules below the run's own folder, which no helper knows."""
    path = env.get("PYTHONPATH", "")
    return bool(path) and not all(map(os.path.isabs, path.split(os.pathsep)))


def _key(env: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(env.items())


def _modified(path: str) -> int | None:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return None


@contextlib.contextmanager
def _memory_file(job: Job) -> Iterator[int]:
    """Put the job where only its receiver can read it: an environment may be long, and secret."""
    wanted = {"env": dict(job.env), "cwd": job.cwd, "token": job.token}
    descriptor = os.memfd_create("job", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(json.dumps(wanted).encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
