"""Time as a dependency, so that tests own it."""

import time
from datetime import UTC, datetime
from typing import Protocol

import anyio

_MONOTONIC = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""With CLOCK_MONOTONIC a laptop that woke up would take its old heartbeat for a fresh one."""


class Clock(Protocol):
    """Wall clock, monotonic clock and sleep, as one thing that can be replaced."""

    def now(self) -> datetime:
        """Return the present moment, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait, in seconds."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present moment, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go backwards, and that count while the machine sleeps."""
        return time.clock_gettime(_MONOTONIC)

    async def sleep(self, seconds: float) -> None:
        """Wait, in seconds."""
        await anyio.sleep(seconds)
