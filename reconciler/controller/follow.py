"""Following a source: reconcile when it changes and now and then besides, and survive everything.

A revision with problems is not applied, in no part; the last good one is kept, and healed to
(DESIGN 6.1).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
import anyio.to_thread

from reconciler.controller import pipeline
from reconciler.controller.pipeline import Desk, Planned
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
            applied: is handed each snapshot that is about to be applied: it is good, and its flow
                code is to be served from now on.
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
        before, error = self._good, None
        try:
            planned, error = await self._newest()
            if planned is None and before is not None:
                planned = await self._plan(before[1])
            report = None if planned is None else await self._carry_out(planned)
        except ReconcilerError as failure:
            report, error = None, error or failure
        fresh = self._good is not None and (
            before is None or before[1].digest != self._good[1].digest
        )
        return Reconciled(report, error, fresh)

    async def _newest(self) -> tuple[Planned | None, ReconcilerError | None]:
        """Plan the newest revision if it is good; else say why not, and keep the last good one.

        Good means that this server can hold it, too: only a plan shows that.
        """
        try:
            snapshot = await self._source.fetch()
            desired = await anyio.to_thread.run_sync(
                pipeline.read, snapshot, self._options, self._desk.kinds
            )
            planned = await self._plan(desired)
        except (InvalidManifests, SourceError, SourceUnavailable) as error:
            return None, error
        self._good = (snapshot, desired)
        return planned, None

    async def _plan(self, desired: DesiredState) -> Planned:
        return await pipeline.make_plan(self._desk, desired, self._wishes)

    async def _carry_out(self, planned: Planned) -> Report:
        if self._good is None:
            raise RuntimeError("a plan without a revision")
        # Flow code first: a run may start the moment its deployment is written.
        await self._applied(self._good[0])
        return await pipeline.carry_out(self._desk, planned, self._wishes)
