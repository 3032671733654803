"""Following a source: reconcile when it changes and now and then besides, and survive everything.

A revision with problems is not applied, in no part; the last good one is kept, and healed to
(DESIGN 6.1).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
import anyio.to_thread

from reconciler.controller import pipeline
from reconciler.controller.pipeline import Desk
from reconciler.errors import InvalidManifests, ReconcilerError, SourceError, SourceUnavailable
from reconciler.manifests.load import LoadOptions
from reconciler.model.desired import DesiredState
from reconciler.model.report import Report
from reconciler.model.snapshot import Snapshot
from reconciler.model.wishes import Wishes
from reconciler.source.base import Source


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One turn of the loop.

    Attributes:
        report: what was done; None if nothing could be.
        error: what stood in the way of the newest revision or of all of it, None if nothing.
        fresh: the revision is another one than at the turn before.
    """

    report: Report | None
    error: ReconcilerError | None = None
    fresh: bool = False


Listener = Callable[[Reconciled], None]
Applied = Callable[[Snapshot], Awaitable[None]]


class Follower:
    """Keeps a server in step with a source."""

    def __init__(
        self, desk: Desk, source: Source, options: LoadOptions, wishes: Wishes, applied: Applied
    ) -> None:
        """Make a follower.

        Args:
            desk: what to work with.
            source: what to follow.
            options: for loading its manifests.
            wishes: what the user asked for.
            applied: is handed each snapshot that was applied in full, before the next turn.
        """
        self._desk = desk
        self._source = source
        self._options = options
        self._wishes = wishes
        self._applied = applied
        self._good: tuple[Snapshot, DesiredState] | None = None
        self._wanted = anyio.Event()

    @property
    def desired(self) -> DesiredState | None:
        """The last good revision."""
        return None if self._good is None else self._good[1]

    def wake(self) -> None:
        """Ask for a turn now."""
        self._wanted.set()

    async def run(self, listener: Listener, interval: float) -> None:
        """Take a turn whenever woken, and every `interval` seconds. Never ends by itself."""
        while True:
            self._wanted = anyio.Event()
            listener(await self.turn())
            with anyio.move_on_after(interval):
                await self._wanted.wait()

    async def turn(self) -> Reconciled:
        """Reconcile once; errors of ours are values here."""
        before = self._good
        error = await self._look()
        if self._good is None:
            return Reconciled(None, error)
        fresh = before is None or before[1].digest != self._good[1].digest
        try:
            report = await self._reconcile(*self._good)
        except ReconcilerError as failure:
            return Reconciled(None, error or failure, fresh)
        return Reconciled(report, error, fresh)

    async def _look(self) -> ReconcilerError | None:
        """Take the newest revision if it is good; else say why not, and keep the last good one."""
        try:
            snapshot = await self._source.fetch()
            desired = await anyio.to_thread.run_sync(
                pipeline.read, snapshot, self._options, self._desk.kinds
            )
        except (InvalidManifests, SourceError, SourceUnavailable) as error:
            return error
        self._good = (snapshot, desired)
        return None

    async def _reconcile(self, snapshot: Snapshot, desired: DesiredState) -> Report:
        # Flow code first: a run may start the moment its deployment is written.
        await self._applied(snapshot)
        planned = await pipeline.make_plan(self._desk, desired, self._wishes)
        return await pipeline.carry_out(self._desk, planned, self._wishes)
