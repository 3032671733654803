"""How many requests run at a time: additive increase, multiplicative decrease.

A server that is asked too much says so (429, 503) or breaks off. SQLite servers do so from two
concurrent writes on, and bear many reads; PostgreSQL servers bear both. Nobody has to know which:
the limits find out. Writes have one of their own, that starts at one, grows slowly and remembers
for a while where the server gave up, so that a SQLite server sees next to no write in vain.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio


@dataclass(slots=True)
class Aimd:
    """The limit itself; no waiting, no clock.

    Attributes:
        limit: how many requests may run now; its whole part counts.
        lowest: never below this.
        highest: never above this.
        growth: how much a round of answers adds.
        memory: for so many answers the limit stays below the one that was too much.
        epoch: number of cuts so far; a request remembers the one it started in.
    """

    limit: float = 4.0
    lowest: float = 1.0
    highest: float = 32.0
    growth: float = 1.0
    memory: int = 0
    epoch: int = 0
    _ceiling: float = 0.0
    _cautious: int = 0

    @classmethod
    def for_writes(cls) -> "Aimd":
        """Return the limit of writes: one at a time, until the server has shown that it bears more."""
        return cls(limit=1.0, growth=1 / 8, memory=200)

    @property
    def allowed(self) -> int:
        """How many requests may run now."""
        return int(self.limit)

    @property
    def cautious(self) -> bool:
        """Whether one of the latest answers was a refusal."""
        return self._cautious > 0

    def succeeded(self, running: int) -> None:
        """Grow with each round of answers, as long as the limit is in use at all.

        Args:
            running: requests that ran at the time, this one included. An idle client learns
                nothing of what the server bears.
        """
        if running < self.allowed:
            return
        top = self._ceiling if self._cautious else self.highest
        self._cautious = max(0, self._cautious - 1)
        self.limit = max(self.limit, min(top, self.limit + self.growth / self.limit))

    def overloaded(self, epoch: int) -> None:
        """Halve, once for all requests that were under way together.

        Args:
            epoch: the one that the request started in.
        """
        if epoch == self.epoch:
            self._ceiling = max(self.lowest, self.allowed - 1.0)
            self._cautious = self.memory
            self.limit = max(self.lowest, self.limit / 2)
            self.epoch += 1


@dataclass(slots=True)
class Slot:
    """A request's permission to run; it says how it went before it gives it back."""

    epoch: int
    answered: bool = False
    overloaded: bool = False


class Limiter:
    """Lets requests run as the limit allows, in the order in which they came."""

    def __init__(self, aimd: Aimd | None = None) -> None:
        self.aimd = aimd or Aimd()
        self.running = 0
        self._waiting: deque[anyio.Event] = deque()
        self._urgent = 0

    @property
    def strained(self) -> bool:
        """Whether the server refused somebody lately, and more wait for it."""
        return self.aimd.cautious and bool(self._waiting)

    @contextmanager
    def ahead(self, *, urgent: bool) -> Iterator[None]:
        """Let no other request start meanwhile, if it is urgent: those under way end, new ones wait.

        It spans the repeats of an urgent request. A SQLite server refuses whoever comes second:
        against a steady stream of writes a sign of life would lose every time (Prefect 3.8.8: tried).
        """
        self._urgent += urgent
        try:
            yield
        finally:
            self._urgent -= urgent
            self._admit()

    @asynccontextmanager
    async def slot(self, *, urgent: bool = False) -> AsyncIterator[Slot]:
        """Wait for a slot, hold it, learn from how it went.

        Args:
            urgent: don't wait: a sign of life must not stand in line behind a thousand writes.
        """
        if urgent:
            self.running += 1
        else:
            await self._enter()
        slot = Slot(self.aimd.epoch)
        try:
            yield slot
        finally:
            if slot.overloaded:
                self.aimd.overloaded(slot.epoch)
            elif slot.answered:
                self.aimd.succeeded(self.running)
            self.running -= 1
            self._admit()

    async def _enter(self) -> None:
        turn = anyio.Event()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn.wait()
        except BaseException:
            self._leave(turn)
            raise

    def _leave(self, turn: anyio.Event) -> None:
        """Undo the wait of a request that was cancelled."""
        if turn.is_set():
            self.running -= 1
        else:
            self._waiting.remove(turn)
        self._admit()

    def _admit(self) -> None:
        while self._waiting and not self._urgent and self.running < self.aimd.allowed:
            self.running += 1
            self._waiting.popleft().set()
