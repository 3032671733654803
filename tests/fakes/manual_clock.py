"""A clock that stands still until a test moves it; sleepers wake when their time has come."""

from datetime import UTC, datetime, timedelta

import anyio


class ManualClock:
    """Implements `reconciler.runtime.clock.Clock`."""

    def __init__(self) -> None:
        self._passed = 0.0
        self._sleepers: list[tuple[float, anyio.Event]] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return 1000.0 + self._passed

    async def sleep(self, seconds: float) -> None:
        event = anyio.Event()
        self._sleepers.append((self._passed + seconds, event))
        await event.wait()

    async def advance(self, seconds: float) -> None:
        """Let time pass from one sleeper to the next, so that everybody acts in order."""
        await _settle()
        end = self._passed + seconds
        while self._passed < end:
            self._passed = min([end, *(wake for wake, _ in self._sleepers)])
            for wake, event in self._sleepers:
                if wake <= self._passed:
                    event.set()
            self._sleepers = [(w, e) for w, e in self._sleepers if w > self._passed]
            await _settle()


async def _settle() -> None:
    """Let everybody act until they sleep; `anyio.wait_all_tasks_blocked` takes real time."""
    for _ in range(100):
        await anyio.lowlevel.checkpoint()
