"""A clock that tests own: sleeping takes no time and moves it on."""

from datetime import UTC, datetime, timedelta

import anyio


class VirtualClock:
    """Implements `reconciler.runtime.clock.Clock`.

    Attributes:
        slept: every sleep so far, in seconds.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._passed = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return 1000.0 + self._passed

    def advance(self, seconds: float) -> None:
        self._passed += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._passed += seconds
        await anyio.lowlevel.checkpoint()
