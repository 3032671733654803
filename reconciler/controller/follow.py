"""Following a source: reconcile when it changes and now and then besides, and survive everything.

A revision with problems is not applied, in no part; the last good one is kept, and healed to
(DESIGN 6.1). A turn that only a new revision has asked for looks at what that touches, if the turn
before left everything in step; all others look at everything.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import anyio
import anyio.to_thread

from reconciler.controller import pipeline
from reconciler.controller.pipeline import Desk, Permit, Planned
from reconciler.engine.narrow import Known
from reconciler.errors import (
    Conflict,
    ForeignInventory,
    InvalidManifests,
    ReconcilerError,
    SourceError,
    SourceUnavailable,
    Transient,
)
from reconciler.manifests.load import LoadOptions
from reconciler.model.desired import DesiredState, DriftPolicy
from reconciler.model.keys import Key
from reconciler.model.plan import Plan
from reconciler.model.report import Report
from reconciler.model.snapshot import Snapshot
from reconciler.model.wishes import Wishes
from reconciler.source.base import Source


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One turn of the loop.

    Attributes:
        report: what was done; None if nothing could be, or nothing should.
        error: what stood in the way of the newest revision or of all of it, None if nothing.
        fresh: the revision is another one than at the turn before.
        plan: what was to be done; None if that could not be found out.
        newest: the revision that was looked at last, good or not; None if none could be had.
    """

    report: Report | None
    error: ReconcilerError | None = None
    fresh: bool = False
    plan: Plan | None = None
    newest: str | None = None

    @property
    def whole(self) -> bool:
        """Whether it was about all resources, not only about what a revision touches."""
        return self.plan is None or self.plan.scope is None

    @property
    def settled(self) -> bool:
        """Whether another try soon would be pointless: nothing failed, or only git can mend it."""
        if self.error is not None:
            return not isinstance(self.error, Transient | Conflict)
        return self.report is None or self.report.converged


Listener = Callable[[Reconciled], None]
Applied = Callable[[Snapshot], Awaitable[None]]


class Follower:
    """Keeps a server in step with a source."""

    def __init__(
        self,
        desk: Desk,
        source: Source,
        options: LoadOptions,
        wishes: Wishes,
        applied: Applied,
        *,
        permit: Permit | None = None,
    ) -> None:
        """Make a follower.

        Args:
            desk: what to work with.
            source: what to follow.
            options: for loading its manifests.
            wishes: what the user asked for.
            applied: is handed each snapshot that is about to be applied: it is good, and its flow
                code is to be served from now on.
            permit: asked before anything is written; see `pipeline.carry_out`.
        """
        self._desk = desk
        self._source = source
        self._options = options
        self._wishes = wishes
        self._applied = applied
        self._permit = permit
        self._good: tuple[Snapshot, DesiredState] | None = None
        self._newest_revision: str | None = None
        self._known: Known | None = None
        self._wanted = anyio.Event()
        self._moved = self._everything = False
        self._heal: frozenset[Key] = frozenset()
        self.suspended = False
        """While it is, turns only look."""

    @property
    def desired(self) -> DesiredState | None:
        """The last good revision."""
        return None if self._good is None else self._good[1]

    def wake(self) -> None:
        """Ask for a turn now, which looks at everything."""
        self._everything = True
        self._wanted.set()

    def moved(self) -> None:
        """Ask for a turn now, since the source has something new."""
        self._moved = True
        self._wanted.set()

    def heal(self, key: Key) -> None:
        """Take git's values for one resource at the next turn, whatever its drift policy."""
        self._heal |= {key}
        self.wake()

    async def run(self, listener: Listener, interval: float) -> None:
        """Take a turn whenever woken, and every `interval` seconds. Never ends by itself."""
        while True:
            listener(await self.turn())
            with anyio.move_on_after(interval):
                await self.wanted()

    async def wanted(self) -> None:
        """Wait until somebody asks for a turn; what was asked since the last one began counts."""
        await self._wanted.wait()

    async def turn(self) -> Reconciled:
        """Reconcile once; errors of ours are values here."""
        self._wanted = anyio.Event()
        may_be_narrow = self._moved and not (self._everything or self.suspended or self._heal)
        self._moved = self._everything = False
        known, self._known = self._known, None
        before, error, planned, report = self._good, None, None, None
        heal = self._heal
        try:
            if may_be_narrow and known is not None:
                report = await self._touched(known)
            if report is None:
                planned, error = await self._newest()
                if planned is None and before is not None:
                    planned = await self._plan(before[1])
                if planned is not None and not self.suspended:
                    report = await self._carry_out(planned)
                    self._heal -= heal  # what was wished for meanwhile is the next turn's
                    if error is None:
                        self._known = pipeline.known_after(planned, report)
        except ReconcilerError as failure:
            error = error or failure
        fresh = self._good is not None and (
            before is None or before[1].digest != self._good[1].digest
        )
        # Another writer may have been at work in between: then a newer plan was carried out.
        plan = report.plan if report is not None else None if planned is None else planned.plan
        return Reconciled(report, error, fresh, plan, self._newest_revision)

    async def _touched(self, known: Known) -> Report | None:
        """Take the newest revision all the way by what it touches; None if that is not enough."""
        try:
            snapshot, desired = await self._read()

            async def ready(plan: Plan) -> None:
                if plan.effective and self._permit is not None:
                    await self._permit(plan)
                self._good = (snapshot, desired)
                await self._applied(snapshot)

            done = await pipeline.reconcile_touched(self._desk, desired, self._wishes, known, ready)
        except (InvalidManifests, SourceError, SourceUnavailable, ForeignInventory):
            return None  # a whole turn says so, and heals to the last good revision
        except Conflict:  # nothing was written: the next turn may go on from here
            self._known, self._moved = known, True
            raise
        if done is None:
            return None
        report, after = done
        self._known = after if report.converged else None
        return report

    async def _read(self) -> tuple[Snapshot, DesiredState]:
        snapshot = await self._source.fetch()
        self._newest_revision = snapshot.revision
        desired = await anyio.to_thread.run_sync(
            pipeline.read, snapshot, self._options, self._desk.kinds
        )
        return snapshot, desired

    async def _newest(self) -> tuple[Planned | None, ReconcilerError | None]:
        """Plan the newest revision if it is good; else say why not, and keep the last good one.

        Good means that this server can hold it, too: only a plan shows that.
        """
        try:
            snapshot, desired = await self._read()
            planned = await self._plan(desired)
        except (InvalidManifests, SourceError, SourceUnavailable, ForeignInventory) as error:
            return None, error  # foreign: a forced push of another history
        self._good = (snapshot, desired)
        return planned, None

    async def _plan(self, desired: DesiredState) -> Planned:
        healed = _healing(desired, self._heal)
        return await pipeline.make_plan(self._desk, healed, self._wishes)

    async def _carry_out(self, planned: Planned) -> Report:
        if self._good is None:
            raise RuntimeError("a plan without a revision")
        # Flow code first: a run may start the moment its deployment is written.
        await self._applied(self._good[0])
        return await pipeline.carry_out(self._desk, planned, self._wishes, permit=self._permit)


def _healing(desired: DesiredState, keys: frozenset[Key]) -> DesiredState:
    declarations = {
        key: replace(one, options=replace(one.options, drift=DriftPolicy.HEAL))
        if key in keys
        else one
        for key, one in desired.declarations.items()
    }
    return replace(desired, declarations=declarations) if keys else desired
