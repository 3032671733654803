"""One watcher for all tasks: batched DescribeTasks, with one back-off for all that share an account."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from reconciler.errors import ReconcilerError, Transient
from reconciler.infrastructure.base import Ends, NotLaunchable
from reconciler.infrastructure.base.logs import Logs
from reconciler.infrastructure.ecs import reasons
from reconciler.infrastructure.ecs.definitions import Definitions
from reconciler.infrastructure.ecs.output import CloudWatch, Stream, stream_of
from reconciler.infrastructure.ecs.tasks import (
    BATCH,
    Place,
    Task,
    describe,
    past_start,
    stop,
    stopped,
)
from reconciler.model.launch import Ended
from reconciler.runtime.backoff import Backoff
from reconciler.runtime.clock import Clock

_LAST_LINES = 10
_SHORTEST = 0.5
"""Seconds: a poll interval of zero may not become a storm."""
_IDLE = 5.0
_UNKNOWN_FOR = 60.0
"""Seconds for which ECS may not know a task before it counts as gone: its answers lag behind RunTask."""
_STOPPING_FOR = 300.0
"""Seconds after which a task that was stopped for its late start is given up, ended or not."""
_BACKOFF = Backoff(first=5.0, ceiling=120.0)

Group = tuple[str, str | None]


@dataclass(slots=True)
class Watched:
    """A task whose end somebody waits for.

    Attributes:
        token: its launch token.
        run_id: the flow run.
        place: where it is.
        interval: seconds between looks, by its block.
        start_within: seconds in which it must start.
        since: monotonic seconds since when it is watched.
        stream: pass its log on as it is written.
        resume: from when, in milliseconds since 1970.
        unknown_since: since when ECS has not known it.
        late_since: since when it has been told to stop for starting late.
        late: why, once it is.
        log: its log stream; None before that is known, or without one.
        asked: its log stream was looked up.
    """

    token: str
    run_id: str
    place: Place
    interval: float
    start_within: float
    since: float
    stream: bool
    resume: int = 0
    unknown_since: float | None = None
    late_since: float | None = None
    late: str = ""
    log: Stream | None = None
    asked: bool = False

    @property
    def group(self) -> Group:
        """What can be described in one call."""
        return self.place.account.key, self.place.cluster


@dataclass(slots=True)
class _Hold:
    until: float
    delays: Iterator[float] = field(default_factory=_BACKOFF.delays)


class Watcher:
    """Describes all watched tasks, tells their ends, stops those that start too late."""

    def __init__(
        self, clock: Clock, ends: Ends, definitions: Definitions, logs: Logs, runs: Path
    ) -> None:
        self._clock = clock
        self._ends = ends
        self._definitions = definitions
        self._logs = logs
        self._runs = runs
        self._watched: dict[str, Watched] = {}
        self._told: set[str] = set()
        self._holds: dict[str, _Hold] = {}
        self.output = CloudWatch(logs)
        self.running = False
        self._looking = anyio.Lock()

    def add(self, watched: Watched) -> None:
        """Watch a task, unless that is done already."""
        if watched.token not in self._watched and watched.token not in self._told:
            watched.resume = _written_until(self._runs / f"{watched.run_id}.log")
            self._watched[watched.token] = watched

    def forget(self, token: str) -> None:
        """Watch a launch no more."""
        self._watched.pop(token, None)
        self._told.discard(token)
        self.output.forget(token)

    def over(self, token: str) -> bool:
        """Tell whether a watched launch has ended."""
        return token not in self._watched

    def told(self, token: str) -> bool:
        """Tell whether a launch's end is known."""
        return token in self._told

    def of_run(self, run_id: str) -> Watched | None:
        """Return what is watched for a flow run."""
        return next((one for one in self._watched.values() if one.run_id == run_id), None)

    async def keep_looking(self) -> None:
        """Look for as long as the agent lives."""
        self.running = True
        try:
            while True:
                for error in await self.look():
                    if not isinstance(error, Transient):
                        raise error  # the supervisor tells people, and has us go on
                await self._clock.sleep(self._pause())
        finally:
            self.running = False

    async def look(self) -> list[ReconcilerError]:
        """Look at all watched tasks once. What fails is held back, and asked again later.

        Returns:
            What failed.
        """
        async with self._looking:  # a stop looks too where nobody watches
            return await self._look()

    async def _look(self) -> list[ReconcilerError]:
        failed = []
        groups: dict[Group, list[Watched]] = {}
        for one in self._watched.values():
            groups.setdefault(one.group, []).append(one)
        for group in groups.values():
            for start in range(0, len(group), BATCH):
                error = await self._guarded(group[start : start + BATCH])
                if error is not None:
                    failed.append(error)
        return failed

    async def log_of(self, watched: Watched) -> Stream | None:
        """Return the log stream of a task, by the definition that it really runs.

        Raises:
            NotLaunchable: the look-up is refused.
            Transient: AWS does not answer.
        """
        if not watched.asked:
            place = watched.place
            tasks = await describe(place.account, place.cluster, [place.arn])
            if place.arn in tasks:
                await self._learn_log(watched, tasks[place.arn])
        return watched.log

    async def _guarded(self, batch: list[Watched]) -> ReconcilerError | None:
        """Look at a batch, unless its account is held back; all its batches share the back-off."""
        key = batch[0].place.account.key
        hold = self._holds.get(key)
        if hold is not None and self._clock.monotonic() < hold.until:
            return None
        try:
            await self._batch(batch)
        except ReconcilerError as error:
            hold = self._holds.setdefault(key, _Hold(0.0))
            hold.until = self._clock.monotonic() + next(hold.delays)
            return error
        self._holds.pop(key, None)
        return None

    async def _batch(self, batch: list[Watched]) -> None:
        place = batch[0].place
        tasks = await describe(place.account, place.cluster, [one.place.arn for one in batch])
        await self._stream(batch, tasks)
        failed = None
        for one in batch:
            task = tasks.get(one.place.arn)
            if self.over(one.token):
                continue  # it was forgotten while AWS was asked
            if task is None:
                self._unknown(one)
                continue
            one.unknown_since = None
            try:
                await self._seen(one, task)
            except ReconcilerError as error:  # the others of the batch come first
                failed = error
        if failed is not None:
            raise failed

    async def _seen(self, one: Watched, task: Task) -> None:
        if stopped(task):
            await self._end(one, task)
        elif one.late or (not past_start(task) and self._is_late(one)):
            await self._stop_late(one, task)

    def _is_late(self, one: Watched) -> bool:
        return self._clock.monotonic() - one.since > one.start_within

    async def _stop_late(self, one: Watched, task: Task) -> None:
        """Stop a task that did not start in time; its end is told when it is gone."""
        now = self._clock.monotonic()
        if one.late_since is None:
            words = reasons.late(task, one.start_within)
            try:
                await stop(one.place, f"It did not start within {one.start_within:g} s.")
            except NotLaunchable as error:
                words += f"; ECS did not let it be stopped: {error.message}"
            one.late, one.late_since = words, now
        elif now - one.late_since > _STOPPING_FOR:
            self._tell(one, Ended(None, f"{one.late}; it has not gone yet"))

    async def _end(self, one: Watched, task: Task) -> None:
        why = one.late or reasons.explain(task)
        if one.late and task.get("stopCode") == "TaskFailedToStart":
            why += f"; {reasons.explain(task)}"
        lines = await self._last_lines(one, task)
        self._tell(one, Ended(reasons.exit_code(task), why, lines))

    def _unknown(self, one: Watched) -> None:
        now = self._clock.monotonic()
        if one.unknown_since is None:
            one.unknown_since = now
        elif now - one.unknown_since >= _UNKNOWN_FOR:
            lines = self._logs.tail(one.run_id, _LAST_LINES)
            self._tell(one, Ended(None, one.late or reasons.GONE, lines))

    def _tell(self, one: Watched, ended: Ended) -> None:
        self._ends.tell(one.token, ended)
        self.forget(one.token)
        self._told.add(one.token)

    async def _stream(self, batch: list[Watched], tasks: dict[str, Task]) -> None:
        """Pass on the new output of a batch. A log that can't be read spoils no watch."""
        try:
            for one in batch:
                task = tasks.get(one.place.arn)
                # Before it runs there is no stream, and asking for it costs calls.
                if one.stream and not one.asked and task is not None and _writes(task):
                    await self._learn_log(one, task)
                    if one.log is not None:
                        self.output.follow(one.token, one.run_id, one.log, one.resume)
            await self.output.pass_on([one.token for one in batch])
        except ReconcilerError:
            return

    async def _learn_log(self, one: Watched, task: Task) -> None:
        account = one.place.account
        definition = await self._definitions.read(account, task["taskDefinitionArn"])
        one.log = stream_of(account, definition, one.place.arn)
        one.asked = True

    async def _last_lines(self, one: Watched, task: Task) -> tuple[str, ...]:
        """Return the end of a task's log, and keep it: the file is all that stays of it here."""
        if self.output.follows(one.token):
            return self._logs.tail(one.run_id, _LAST_LINES)  # passed on just now
        try:
            if not one.asked:
                await self._learn_log(one, task)
            lines = () if one.log is None else await self.output.tail(one.log, _LAST_LINES)
        except ReconcilerError:
            return ()
        self._logs.add(one.run_id, lines)
        return lines

    def _pause(self) -> float:
        return max(_SHORTEST, min((one.interval for one in self._watched.values()), default=_IDLE))


def _writes(task: Task) -> bool:
    return past_start(task) or stopped(task)


def _written_until(log: Path) -> int:
    """Return when a run's log was written last, in milliseconds: an earlier agent streamed so far."""
    try:
        return int(log.stat().st_mtime * 1000) if log.stat().st_size else 0
    except OSError:
        return 0
