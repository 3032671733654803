"""One look at the jobs of a region serves all runs there."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from reconciler.errors import ReconcilerError, Transient
from reconciler.infrastructure.base import Ends
from reconciler.infrastructure.cloud_run.client import Place
from reconciler.infrastructure.cloud_run.failures import Missing
from reconciler.infrastructure.cloud_run.reasons import (
    NEVER_RAN,
    REMOVED,
    Json,
    end_of,
    hindrance,
    is_over,
    is_pending,
    latest,
)
from reconciler.model.launch import Ended
from reconciler.runtime.backoff import Backoff
from reconciler.runtime.clock import Clock

_INTERVAL = 5.0
"""Seconds between looks, as under Prefect's own agent."""
_UNKNOWN_FOR = 30.0
"""Seconds for which a list may lack a job before it counts as deleted."""
_EXECUTES_WITHIN = 60.0
"""Seconds in which an execution must show up once a job was told to run."""
_CANCELLED_FOR = 300.0
_BACKOFF = Backoff(first=5.0, ceiling=120.0)

Group = tuple[str, str]


@dataclass(slots=True)
class Watched:
    """A job whose end somebody waits for.

    Attributes:
        token: its launch token.
        place: where it is.
        start_within: seconds in which its execution must start.
        since: monotonic seconds since when it is watched, or since it was cancelled.
        missing_since: since when no list has it.
        late: why we cancelled it.
    """

    token: str
    place: Place
    start_within: float
    since: float
    missing_since: float | None = None
    late: str = ""

    @property
    def group(self) -> Group:
        """What one list has."""
        return self.place.account.key, self.place.parent


@dataclass(slots=True)
class _Hold:
    until: float
    delays: Iterator[float] = field(default_factory=_BACKOFF.delays)


class Watcher:
    """Learns of the ends of jobs; cancels executions that start too late.

    However many runs there are, a project's region costs one list each few seconds; an end costs
    two questions. A region that fails is held back alone. Nothing is asked while nobody waits.
    """

    def __init__(self, ends: Ends, clock: Clock) -> None:
        self._ends = ends
        self._clock = clock
        self._watched: dict[str, Watched] = {}
        self._holds: dict[Group, _Hold] = {}

    def add(self, watched: Watched) -> None:
        """Watch a job, unless that is done already."""
        self._watched.setdefault(watched.token, watched)

    def forget(self, token: str) -> None:
        """Watch a launch no more."""
        self._watched.pop(token, None)
        self._ends.forget(token)

    async def watch(self) -> None:
        """Look for as long as the agent lives.

        Raises:
            NotLaunchable: Google refuses; whoever supervises it calls again.
        """
        while True:
            for error in await self.look():
                if not isinstance(error, Transient):
                    raise error
            await self._clock.sleep(_INTERVAL)

    async def look(self) -> list[ReconcilerError]:
        """Look at all watched jobs once; return what failed."""
        groups: dict[Group, list[Watched]] = {}
        for one in self._watched.values():
            groups.setdefault(one.group, []).append(one)
        failed = [await self._guarded(key, group) for key, group in groups.items()]
        return [error for error in failed if error is not None]

    async def _guarded(self, key: Group, group: list[Watched]) -> ReconcilerError | None:
        hold = self._holds.get(key)
        if hold is not None and self._clock.monotonic() < hold.until:
            return None
        try:
            await self._look_at(group)
        except ReconcilerError as error:
            hold = self._holds.setdefault(key, _Hold(0.0))
            hold.until = self._clock.monotonic() + next(hold.delays)
            return error
        self._holds.pop(key, None)
        return None

    async def _look_at(self, group: list[Watched]) -> None:
        place = group[0].place
        jobs = {job["name"]: job for job in await place.account.jobs(place.parent)}
        failed = None
        for one in group:
            if one.token not in self._watched:
                continue  # it was forgotten while Google was asked
            try:
                await self._seen(one, jobs.get(one.place.name))
            except ReconcilerError as error:  # the others come first
                failed = error
        if failed is not None:
            raise failed

    async def _seen(self, one: Watched, job: Json | None) -> None:
        now = self._clock.monotonic()
        if job is None:
            one.missing_since = one.missing_since or now
            if now - one.missing_since >= _UNKNOWN_FOR:
                self._tell(one, Ended(None, one.late or REMOVED))
            return
        one.missing_since = None
        reference = latest(job)
        if reference is None:
            if now - one.since > _EXECUTES_WITHIN:
                self._tell(one, Ended(None, NEVER_RAN))
        elif is_over(reference):
            await self._end(one, reference["name"])
        else:
            await self._check_time(one, reference, now - one.since)

    async def _check_time(self, one: Watched, reference: Json, spent: float) -> None:
        if one.late:
            if spent > _CANCELLED_FOR:
                self._tell(one, Ended(None, f"{one.late}; it has not gone yet"))
        elif is_pending(reference) and spent > one.start_within:
            await self._cancel_late(one, reference["name"])

    async def _end(self, one: Watched, execution: str) -> None:
        account = one.place.account
        try:
            whole = await account.execution(execution)
            ended = end_of(whole, await account.tasks(execution))
        except Missing:
            ended = Ended(None, REMOVED)
        self._tell(one, Ended(ended.exit_code, one.late or ended.reason))

    async def _cancel_late(self, one: Watched, execution: str) -> None:
        account = one.place.account
        words = hindrance(await account.execution(execution))
        await account.cancel(execution)
        one.late = f"the execution did not start within {one.start_within:g} s: {words}"
        one.since = self._clock.monotonic()

    def _tell(self, one: Watched, ended: Ended) -> None:
        self._ends.tell(one.token, ended)
        self._watched.pop(one.token, None)
