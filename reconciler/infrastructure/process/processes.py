"""This host's processes: identity, search by launch token, groups, signals."""

import contextlib
import os
import signal
from functools import cache
from pathlib import Path

import anyio
import psutil

TOKEN_VARIABLE = "PREFECT__LAUNCH_TOKEN"  # noqa: S105 - a name; the token is no secret
"""Carries the launch token in the environment of a run's processes. It must not begin with
`RECONCILER_`, since such variables are withheld from flow runs."""


def birth(pid: int) -> str | None:
    """Return what tells a process from a later one with its id; None if it is gone or a zombie.

    It is the kernel's boot id and the start time in clock ticks since then: no clock that can be
    set has a part in it.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{_boot_id()}:{fields[19]}"


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


async def gone(pid: int, born: str | None) -> None:
    """Wait for the end of a process by its pid file descriptor; works for strangers' children too.

    Raises:
        ProcessLookupError: it is gone already.
    """
    descriptor = os.pidfd_open(pid)
    try:
        # Checked after opening: from here on the descriptor can't come to mean another process.
        if born is None or birth(pid) == born:
            await anyio.wait_readable(descriptor)
    finally:
        os.close(descriptor)


def leader_of(token: str) -> int | None:
    """Find the process that leads the session of a launch; None if there is none."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if _token_of(process) == token and os.getsid(process.pid) == process.pid:
                return process.pid
    return None


def members(token: str, leader: int, born: str) -> list[int]:
    """List the living processes of a launch: those of its group, and those that left it.

    A process belongs if it carries the token in its environment, or is of the leader's group. The
    latter counts only if the leader's id was not given to a stranger meanwhile; while its group
    has members, the kernel gives it to nobody.
    """
    now = birth(leader)
    group_is_ours = now is None or now == born
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if birth(process.pid) is None:
                continue
            in_group = group_is_ours and os.getpgid(process.pid) == leader
            if in_group or _token_of(process) == token:
                found.append(process.pid)
    return found


def send(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to processes; those gone meanwhile are fine."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _token_of(process: psutil.Process) -> str | None:
    return process.environ().get(TOKEN_VARIABLE)
