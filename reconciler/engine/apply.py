"""Carrying out a plan, level by level: write ahead, write, read back, remember."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio

from reconciler.engine import guard, marks, order, renames, verify
from reconciler.engine.access import Access
from reconciler.engine.lease import Lease
from reconciler.engine.step import Fate, Step, carry_out, got_through, prepare
from reconciler.errors import LeaseLost, ReconcilerError, Refused, StalePlan
from reconciler.kinds.base.vacancy import lots
from reconciler.model.desired import DesiredState
from reconciler.model.inventory import Entry
from reconciler.model.live import Evidence, Live, Observed
from reconciler.model.plan import Action, Change, Plan
from reconciler.model.report import Outcome, Report, Result
from reconciler.runtime.together import together

if TYPE_CHECKING:
    from reconciler.model.keys import Key

_LAST_WORDS = 15.0  # seconds for the last inventory write of an interrupted apply


Progress = Callable[[Outcome], None]
"""Hears of each change's end."""


def silent(_outcome: Outcome) -> None:
    """Nobody listens."""


def held(plan: Plan) -> Report:
    """Return the report of a plan that does nothing: all that differs is held back."""
    return Report(plan, tuple(Outcome(c, Result.HELD, id=c.id) for c in plan.changes))


async def apply(
    plan: Plan,
    desired: DesiredState,
    observed: Observed,
    access: Access,
    lease: Lease,
    progress: Progress = silent,
) -> Report:
    """Do what a plan says, under a lease that is held.

    A failed change is an outcome and skips only what depends on it.

    Args:
        plan: what to do.
        desired: what it was made of, as `observe` returned it.
        observed: what it was made of.
        access: the server, with the session of `observed`.
        lease: held.
        progress: hears of each change's end.

    Raises:
        StalePlan: another apply changed the inventory since the plan was made: plan again.
        Refused: the plan was made without reading secrets.
    """
    if not desired.secrets_read and plan.effective:
        raise Refused(
            "a plan made with --no-secrets can't be applied", hint="plan again without it"
        )
    run = _Apply(plan, desired, observed, access, lease, progress)
    if not observed.fresh:
        await run.refresh()
    with anyio.CancelScope() as scope:
        lease.on_lost(scope.cancel)
        try:
            await run.all_levels()
        except ReconcilerError as error:
            run.error = error.message
    if scope.cancelled_caught:
        run.error = _lost_message(lease)
    return run.report()


def _lost_message(lease: Lease) -> str:
    try:
        lease.check()
    except LeaseLost as error:
        return error.message
    return "the lease was lost"


class _Apply:
    """One apply under way."""

    def __init__(
        self,
        plan: Plan,
        desired: DesiredState,
        observed: Observed,
        access: Access,
        lease: Lease,
        progress: Progress,
    ) -> None:
        self.error: str | None = None
        self._plan = plan
        self._desired = desired
        self._observed = observed
        self._access = access
        self._store = access.store
        self._lease = lease
        self._progress = progress
        self._changes = {change.key: change for change in plan.effective}
        self._needs = order.needs(plan.effective, observed.live, observed.rules)
        self._outcomes: dict[Key, Outcome] = {}

    async def refresh(self) -> None:
        """Read the inventory again, now that nobody else may write it."""
        agreed = self._store.taken_over  # to what was there when it was planned, to nothing since
        loaded = await self._store.load(self._desired.origin, take_over=agreed)
        fresh, planned = loaded.inventory, self._observed.inventory
        entries = renames.moved(fresh.entries, self._observed.renamed)
        if entries != planned.entries or fresh.exists is not planned.exists:
            raise StalePlan(
                "another apply changed the inventory since this plan was made",
                hint="plan again",
            )
        if self._store.taken_over:
            await self._lease.confirm()
            await self._store.claim()

    async def all_levels(self) -> None:
        """Carry out every level; clean up an inventory that owns nothing any more."""
        for keys in self._plan.levels:
            await self._level([self._changes[key] for key in keys])
        if not self._store.entries and self._changes:
            await self._lease.confirm()
            await self._store.remove()

    async def _level(self, changes: list[Change]) -> None:
        steps = [self._step(change) for change in changes if not self._skip(change)]
        await together(partial(prepare, step, self._access, self._lease) for step in steps)
        await self._intend(steps)
        try:
            again = replace(self._access.session, cache={})  # without memory
            creates = (step.change.key for step in steps if step.intent is not None)
            self._access.session.coming = lots(creates)
            await together(
                partial(carry_out, step, self._access, self._lease, again) for step in steps
            )
            await self._read_back(steps)
        finally:
            # Also when interrupted: what was created must not be forgotten.
            try:
                with anyio.move_on_after(min(_LAST_WORDS, self._lease.spare), shield=True):
                    await self._remember(steps)
            finally:
                self._end_all(steps)

    def _end_all(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if step.fate is not Fate.WAITING:
                self._end(step.outcome())

    def _step(self, change: Change) -> Step:
        return Step(
            change=change,
            declaration=self._desired.declarations.get(change.key),
            live=self._observed.live.get(change.key),
            entry=self._observed.inventory.entries.get(change.key),
            evidence=self._expected(change),
        )

    def _expected(self, change: Change) -> Evidence | None:
        """Return what a delete may take along: not what was to let go of the object before it."""
        evidence = self._observed.evidence.get(change.key)
        if evidence is None or change.action is not Action.DELETE:
            return evidence
        freed = {
            self._changes[key].id
            for key in self._needs[change.key]
            if guard.frees(self._changes[key], self._observed.live[key], change.key)
        }
        takes = {id_: what for id_, what in evidence.takes.items() if id_ not in freed}
        return replace(evidence, takes=takes)

    def _skip(self, change: Change) -> bool:
        failed = sorted(
            str(key)
            for key in self._needs[change.key]
            if key in self._outcomes and self._outcomes[key].result is not Result.DONE
        )
        if failed:
            reason = f"it needs {', '.join(failed)}, which failed"
            self._end(Outcome(change, Result.SKIPPED, reason, id=change.id))
        return bool(failed)

    async def _intend(self, steps: Iterable[Step]) -> None:
        """Write down what is about to be created or taken away, so that a crash can't lose it."""
        ahead = []
        for step in steps:
            if step.change.action is Action.CREATE:
                step.intent = self._entry(step, id_=None)
                ahead.append(step.intent)
            elif step.notes is not None:
                entry = step.entry or self._entry(step, id_=None)
                ahead.append(replace(entry, notes=step.notes))
        if ahead:
            await self._lease.confirm()
            await self._store.save(put=ahead)

    async def _read_back(self, steps: Iterable[Step]) -> None:
        touched = {step.change.key: step for step in steps if step.touched}
        found = await verify.read_back(
            {key: step.id for key, step in touched.items() if step.id is not None}, self._access
        )
        await together(partial(self._judge, touched[key], live) for key, live in found.items())

    async def _judge(self, step: Step, live: Live | None) -> None:
        """Compare what was read back with what was meant."""
        change = step.change
        if change.action is Action.DELETE:
            if live is not None:
                step.fail("the server still has it")
            return
        if live is None or step.declaration is None:
            step.fail("it was deleted right after it was written")
            return
        if change.former is not None and live.key == change.former:
            step.fail("the server kept its former name")
            return
        step.read = live
        step.remaining = verify.remaining(
            change,
            step.declaration,
            live,
            self._access,
            self._observed.inventory.fingerprinter,
        )
        if step.fate is Fate.UNKNOWN and not step.remaining:
            await got_through(step, live, self._access)

    async def _remember(self, steps: Iterable[Step]) -> None:
        """Bring the inventory in line with what was done, as far as that is known."""
        lines = [line for step in steps if (line := self._line(step)) is not None]
        put = [line for line in lines if isinstance(line, Entry)]
        drop = [line for line in lines if not isinstance(line, Entry)]
        if put or drop:
            await self._lease.confirm()
            await self._store.save(put, drop)
        # After the new names are written: what exists must be owned at any time.
        await self._store.save(drop=renames.left(put, self._observed.renamed))

    def _line(self, step: Step) -> "Entry | Key | None":
        """Return the entry that a step leaves, or the key whose entry goes; None where all stays."""
        if step.fate is Fate.DONE:
            if step.change.action is Action.DELETE:
                return step.change.key
            return replace(self._entry(step, id_=step.id), notes=step.owed)
        if step.fate is not Fate.FAILED:
            return None
        if step.intent is not None:
            # It surely was not created: the intent goes, what it replaced comes back.
            return step.entry or step.change.key
        # An update that was refused has taken nothing away: what is owed since earlier is all.
        return None if step.owed is None or step.written else step.entry

    def _entry(self, step: Step, id_: str | None) -> Entry:
        now = self._access.session.api.now()
        declaration = step.declaration
        assert declaration is not None  # noqa: S101 - only deletes have none
        entry = Entry(
            key=step.change.key,
            id=id_,
            since=now,
            commit=self._desired.commit or self._desired.revision,
            file=declaration.place.file,
            prune=declaration.options.prune,
            suspend=declaration.options.suspend,
            fields={} if step.entry is None else step.entry.fields,
        )
        if id_ is None or declaration.options.suspend:
            return entry
        fingerprinter = self._observed.inventory.fingerprinter
        found = marks.fields_of(declaration, step.fields, step.entry, fingerprinter)
        fields = marks.with_changes(found, step.entry, step.change.fields, now, fingerprinter)
        return replace(entry, fields=fields)

    def _end(self, outcome: Outcome) -> None:
        self._outcomes[outcome.change.key] = outcome
        self._progress(outcome)

    def report(self) -> Report:
        """Return what became of every change."""
        return Report(
            plan=self._plan,
            outcomes=tuple(self._outcome(change) for change in self._plan.changes),
            error=self.error,
        )

    def _outcome(self, change: Change) -> Outcome:
        if change.action is Action.BLOCKED:
            return Outcome(change, Result.HELD, id=change.id)
        known = self._outcomes.get(change.key)
        return known or Outcome(change, Result.SKIPPED, f"stopped: {self.error}", id=change.id)
