"""One round of looks for all container groups, at a bounded rate."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from reconciler.errors import ReconcilerError, Transient
from reconciler.infrastructure.azure.client import Place
from reconciler.infrastructure.azure.failures import Missing
from reconciler.infrastructure.azure.reasons import (
    REMOVED,
    Json,
    end_of,
    has_started,
    hindrance,
    looks_over,
)
from reconciler.infrastructure.base import Ends
from reconciler.infrastructure.base.logs import Logs
from reconciler.model.launch import Ended
from reconciler.runtime.backoff import Backoff
from reconciler.runtime.clock import Clock

_SHORTEST, _IDLE = 0.5, 5.0
_LOOKS = 20
"""So many groups are read in one round; the others have their turn in the next ones."""
_BACKOFF = Backoff(first=5.0, ceiling=120.0)

Key = tuple[str, str]


@dataclass(slots=True)
class Watched:
    """A container group whose end somebody waits for.

    Attributes:
        token: its launch token.
        run_id: the flow run.
        place: where it is.
        interval: seconds between looks, by its block.
        start_within: seconds in which its container must start.
        since: monotonic seconds since when it is watched.
        stream: pass its output on.
        passed: lines of it that were passed on.
        looked: monotonic seconds of the last look.
        started: it has been seen running.
        late: why we deleted it.
    """

    token: str
    run_id: str
    place: Place
    interval: float
    start_within: float
    since: float
    stream: bool
    passed: int = 0
    looked: float = 0.0
    started: bool = False
    late: str = ""

    @property
    def key(self) -> Key:
        """What one list has."""
        return self.place.subscription.key, self.place.resource_group


@dataclass(slots=True)
class _Hold:
    until: float
    delays: Iterator[float] = field(default_factory=_BACKOFF.delays)


class Watcher:
    """Learns of the ends of container groups; deletes those that start too late.

    A resource group costs one list each round. Where that leaves the groups' state out, as Azure's
    documentation has it, groups are read one by one, the one that waited longest first, and not more
    than `_LOOKS` in a round: the number of calls is bounded, and an end is seen later instead.
    """

    def __init__(self, ends: Ends, logs: Logs, clock: Clock) -> None:
        self._ends = ends
        self._logs = logs
        self._clock = clock
        self._watched: dict[str, Watched] = {}
        self._holds: dict[Key, _Hold] = {}

    def add(self, watched: Watched) -> None:
        """Watch a container group, unless that is done already."""
        self._watched.setdefault(watched.token, watched)

    def forget(self, token: str) -> None:
        """Watch a launch no more."""
        self._watched.pop(token, None)
        self._ends.forget(token)

    async def watch(self) -> None:
        """Look for as long as the agent lives.

        Raises:
            NotLaunchable: Azure refuses; whoever supervises it calls again.
        """
        while True:
            for error in await self.look():
                if not isinstance(error, Transient):
                    raise error
            await self._clock.sleep(self._pause())

    async def look(self) -> list[ReconcilerError]:
        """Look at the watched groups once; return what failed."""
        kinds: dict[Key, list[Watched]] = {}
        for one in self._watched.values():
            kinds.setdefault(one.key, []).append(one)
        failed = [await self._guarded(key, some) for key, some in kinds.items()]
        return [error for error in failed if error is not None]

    async def _guarded(self, key: Key, some: list[Watched]) -> ReconcilerError | None:
        hold = self._holds.get(key)
        if hold is not None and self._clock.monotonic() < hold.until:
            return None
        try:
            await self._look_at(some)
        except ReconcilerError as error:
            hold = self._holds.setdefault(key, _Hold(0.0))
            wait = error.retry_after if isinstance(error, Transient) else None
            hold.until = self._clock.monotonic() + (wait or next(hold.delays))
            return error
        self._holds.pop(key, None)
        return None

    async def _look_at(self, some: list[Watched]) -> None:
        place = some[0].place
        listed = await place.subscription.groups(place.resource_group)
        known = {group["name"]: looks_over(group) for group in listed}
        # What the list calls running needs no look of its own, but for its start and its output.
        due = [one for one in some if self._needs_a_look(one, known)]
        due.sort(key=lambda one: one.looked)
        failed = None
        for one in due[:_LOOKS]:
            if one.token not in self._watched:
                continue  # it was forgotten while Azure was asked
            one.looked = self._clock.monotonic()
            try:
                await self._look_into(one)
            except ReconcilerError as error:  # the others come first
                failed = error
        if failed is not None:
            raise failed

    def _needs_a_look(self, one: Watched, known: dict[str, bool | None]) -> bool:
        over = known.get(one.place.name, True)
        waited = self._clock.monotonic() - one.looked >= one.interval
        return over is True or (waited and (over is None or not one.started or one.stream))

    async def _look_into(self, one: Watched) -> None:
        try:
            group = await one.place.group()
        except Missing:
            self._tell(one, Ended(None, one.late or REMOVED))
            return
        if one.stream and has_started(group):
            await self._pass_on(one)
        ended = end_of(group)
        if ended is not None:
            self._tell(one, Ended(ended.exit_code, one.late or ended.reason))
            return
        one.started = one.started or has_started(group)
        late = self._clock.monotonic() - one.since > one.start_within
        if late and not one.started and not one.late:
            await self._delete_late(one, group)

    async def _delete_late(self, one: Watched, group: Json) -> None:
        with suppress(Missing):
            await one.place.delete()
        one.late = f"the container did not start within {one.start_within:g} s: {hindrance(group)}"

    async def _pass_on(self, one: Watched) -> None:
        """Pass the new output on. A log that can't be read spoils no watch."""
        with suppress(ReconcilerError):
            lines = await one.place.log()
            self._logs.add(one.run_id, lines[one.passed :], stream=True)
            one.passed = max(one.passed, len(lines))

    def _tell(self, one: Watched, ended: Ended) -> None:
        self._ends.tell(one.token, ended)
        self._watched.pop(one.token, None)

    def _pause(self) -> float:
        return max(_SHORTEST, min((one.interval for one in self._watched.values()), default=_IDLE))
