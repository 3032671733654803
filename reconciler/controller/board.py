"""The board: what the service knows now, written by its loops, read by pages, API and messages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

import anyio

from reconciler.controller.drifts import note_drifts
from reconciler.controller.follow import Reconciled
from reconciler.controller.history import History
from reconciler.controller.standing import merged, resources
from reconciler.errors import HistoryUnavailable, InvalidManifests, ReconcilerError
from reconciler.model.desired import DesiredState
from reconciler.model.plan import Plan
from reconciler.model.problems import Problem
from reconciler.model.report import Report, Result
from reconciler.model.status import (
    ApplyRecord,
    ApplyResult,
    Resource,
    ResourceState,
)
from reconciler.runtime.clock import Clock
from reconciler.telemetry.metrics import Metrics


@dataclass(frozen=True)
class Standing:
    """All of it at one moment.

    Attributes:
        revision: that is in force; None before the first good one.
        resources: sorted by key.
        plan: what differed at the last turn; None before one.
        error: what stood in the way at the last turn; None if nothing.
        problems: of the manifests of the newest revision.
        newest: that revision; the source may know of one that is newer still.
        turned_at: when the last turn ended; None before one.
        converged_at: when a turn converged last.
        suspended: turns only look.
        history_error: why the history isn't kept; None if it is.
    """

    revision: str | None = None
    resources: tuple[Resource, ...] = ()
    plan: Plan | None = None
    error: ReconcilerError | None = None
    problems: tuple[Problem, ...] = ()
    newest: str | None = None
    turned_at: datetime | None = None
    converged_at: datetime | None = None
    suspended: bool = False
    history_error: str | None = None

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """The number of resources in each state; pages ask for it much oftener than it changes."""
        counts = dict.fromkeys((state.value for state in ResourceState), 0)
        for each in self.resources:
            counts[each.state.value] += 1
        return counts


Watch = Callable[[Standing, Standing], None]
"""Told of the standing before and after each change."""


class Board:
    """See the module's text. It belongs to one event loop."""

    def __init__(self, history: History, clock: Clock, metrics: Metrics) -> None:
        self.history = history
        self._clock = clock
        self._metrics = metrics
        self._changed = anyio.Event()
        self._watches: list[Watch] = []
        self.version = 0
        self.standing = Standing(suspended=history.noted("suspended") == "yes")

    def watch(self, watch: Watch) -> None:
        """Tell somebody of each change."""
        self._watches.append(watch)

    async def changed(self, version: int) -> int:
        """Wait until the board is newer than a version; return its version."""
        while self.version == version:
            await self._changed.wait()
        return self.version

    def bump(self) -> None:
        """Say that something which is shown has changed."""
        self.version += 1
        self._changed.set()
        self._changed = anyio.Event()

    def suspend(self, suspended: bool) -> None:  # noqa: FBT001 - the value is the verb's object
        """Keep across restarts whether turns only look."""
        self.history.note("suspended", "yes" if suspended else "no")
        self._set(replace(self.standing, suspended=suspended))

    async def turn(self, turn: Reconciled, desired: DesiredState | None, began: datetime) -> None:
        """Note a turn.

        Args:
            turn: what it did.
            desired: the last good revision.
            began: when it began.
        """
        now = self._clock.now()
        result = _result(turn)
        seconds = (now - began).total_seconds()
        if turn.report is not None or turn.error is not None:
            self._metrics.reconciled(result.value, seconds, now)
        trouble = None
        try:
            await anyio.to_thread.run_sync(self._write, turn, desired, began, now)
        except HistoryUnavailable as full:
            trouble = full.message
        error = turn.error
        known, plan = self.standing.resources, turn.plan
        converged = turn.report is not None and turn.report.converged and error is None
        self._set(
            replace(
                self.standing,
                revision=None if desired is None else desired.revision,
                resources=resources(desired, plan, turn.report, known) if plan else known,
                plan=merged(plan, self.standing.plan, known) if plan else self.standing.plan,
                error=error,
                problems=error.problems if isinstance(error, InvalidManifests) else (),
                newest=turn.newest,
                turned_at=now,
                converged_at=now if converged else self.standing.converged_at,
                history_error=trouble,
            )
        )

    def _set(self, standing: Standing) -> None:
        before, self.standing = self.standing, standing
        counts = standing.counts
        self._metrics.resources(counts, counts[ResourceState.DRIFTED])
        self.bump()
        for watch in self._watches:
            watch(before, standing)

    def _write(
        self, turn: Reconciled, desired: DesiredState | None, began: datetime, now: datetime
    ) -> None:
        if turn.plan is not None and desired is not None:
            note_drifts(self.history, turn.plan, desired, now, report=turn.report)
        if _worth_a_record(turn, self.standing):
            report = turn.report
            record = ApplyRecord(
                0,
                turn.plan.revision if turn.plan else None,
                began,
                now,
                _result(turn),
                {} if report is None else _counts(report),
                turn.error.message if turn.error else report.error if report else None,
            )
            self.history.add_apply(record, None if report is None else report.to_json())
            self.history.prune(now)


def _worth_a_record(turn: Reconciled, before: Standing) -> bool:
    """Tell whether people will look for it: it did something, or a trouble is new."""
    if turn.error is not None:
        return before.error is None or before.error.message != turn.error.message
    if turn.report is None:
        return False
    acted = any(outcome.result is not Result.HELD for outcome in turn.report.outcomes)
    return acted or turn.fresh or turn.report.error is not None


def _result(turn: Reconciled) -> ApplyResult:
    if turn.report is None:
        return ApplyResult.FAILED
    if turn.report.converged and turn.error is None:
        return ApplyResult.CONVERGED
    return ApplyResult.PARTIAL


def _counts(report: Report) -> dict[str, int]:
    counts = dict.fromkeys((result.value for result in Result), 0)
    for outcome in report.outcomes:
        counts[outcome.result.value] += 1
    return counts
