"""A clock on which time passes faster than it does: for waits beside real sockets."""

from datetime import UTC, datetime, timedelta

import anyio

from reconciler.runtime.clock import SystemClock


class HurriedClock:
    """Implements `reconciler.runtime.clock.Clock`; a second takes 1/`speed` of one."""

    def __init__(self, speed=100.0):
        self._real, self._speed = SystemClock(), speed
        self._begun = self._real.monotonic()

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.monotonic())

    def monotonic(self):
        return (self._real.monotonic() - self._begun) * self._speed

    async def sleep(self, seconds):
        await anyio.sleep(seconds / self._speed)
