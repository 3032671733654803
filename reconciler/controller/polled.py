"""A source that is asked in the background: what is asked of it is answered with what was found last."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

from reconciler.errors import ReconcilerError, SourceError, SourceUnavailable, StaleRevision
from reconciler.model.snapshot import Snapshot
from reconciler.runtime.clock import Clock
from reconciler.source.base import RememberingSource

if TYPE_CHECKING:
    from datetime import datetime

_JITTER = 0.1
"""Share of the interval by which each pause is longer or shorter, so that replicas spread out."""


class PolledSource:
    """Asks a source every so often, or when woken; one question at a time.

    Wishes that come while a question is under way are one more question.

    Attributes:
        snapshot: the newest tree; None before there is one.
        fetched_at: when the source answered last.
        error: why the newest tree is not known; None if it is.
    """

    def __init__(self, source: RememberingSource, clock: Clock, seconds: float) -> None:
        """Make it.

        Args:
            source: what is asked.
            clock: to wait with.
            seconds: between two questions.
        """
        self._source = source
        self._clock = clock
        self._seconds = seconds
        self._wanted = anyio.Event()
        self._answered = anyio.Event()
        self._handed: Snapshot | None = None
        self._asking = anyio.Lock()
        self._moved = False
        self.snapshot: Snapshot | None = None
        self.fetched_at: datetime | None = None
        self.error: ReconcilerError | None = None

    def wake(self) -> None:
        """Ask now."""
        self._wanted.set()

    async def fetch(self) -> Snapshot:
        """Return the newest tree, once there is an answer.

        A tree that nobody was handed yet comes out even where the source has an error by now: what
        an earlier process fetched last is good enough to go on with.

        Raises:
            SourceError, SourceUnavailable: as the source said.
        """
        await self._answered.wait()
        if self.error is not None and self.snapshot is self._handed:
            raise self.error
        if self.snapshot is None:
            raise RuntimeError("an answer without a tree or an error")
        self._handed = self.snapshot
        return self.snapshot

    async def confirm(self) -> bool:
        """Ask now whether the tree that was handed out last is still the newest.

        Returns:
            False if nobody knows, since the source does not answer.

        Raises:
            StaleRevision: it is not; whoever runs `run` is told.
        """
        if await self._ask():
            self._moved = True
            self.wake()
        if self.error is not None:
            return False
        if self.snapshot is not self._handed:
            raise StaleRevision("the ref moved before its last revision was written; that is next")
        return True

    async def run(self, changed: Callable[[], None]) -> None:
        """Ask for ever.

        Args:
            changed: called after each answer that says something new.
        """
        while True:
            self._wanted = anyio.Event()
            moved, self._moved = self._moved, False
            if await self._ask() or moved:
                changed()
            pause = self._seconds * (1 + random.uniform(-_JITTER, _JITTER))  # noqa: S311 - no secret
            with anyio.move_on_after(pause):
                await self._wanted.wait()

    async def _ask(self) -> bool:
        async with self._asking:
            return await self._asked()

    async def _asked(self) -> bool:
        before = (self.snapshot and self.snapshot.revision, self.error and self.error.message)
        try:
            self.snapshot = await self._source.fetch()
        except (SourceError, SourceUnavailable) as error:
            self.error = error
            if self.snapshot is None:
                self.snapshot = await self._remembered()
        else:
            self.error, self.fetched_at = None, self._clock.now()
        self._answered.set()
        after = (self.snapshot and self.snapshot.revision, self.error and self.error.message)
        return before != after

    async def _remembered(self) -> Snapshot | None:
        try:
            return await self._source.last_good()
        except (SourceError, SourceUnavailable):
            return None
