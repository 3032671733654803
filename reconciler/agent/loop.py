"""The agent: looks for due runs, takes them on, and looks after what others left behind.

`run.py` tells the story of one run.
"""

import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial

import anyio
import anyio.abc

from reconciler.agent.claim import launch_token
from reconciler.agent.code import Checkouts, CodeProvider, NoCode
from reconciler.agent.context import ActiveRun, Context, Stop
from reconciler.agent.observer import AgentEvent, Happening, Observer, silent
from reconciler.agent.options import AgentOptions
from reconciler.agent.presence import Presence
from reconciler.agent.queues import Queues
from reconciler.agent.recover import sought_at
from reconciler.agent.run import run_flow
from reconciler.agent.survey import Job, Survey
from reconciler.agent.tokens import new_token
from reconciler.api.client import Api
from reconciler.api.runs import FlowRun, due_runs
from reconciler.api.server_clock import CLOCK_LAG
from reconciler.errors import NotFound, ReconcilerError
from reconciler.infrastructure import Launcher
from reconciler.infrastructure.base import NotLaunchable
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.runtime.slots import Slots
from reconciler.runtime.supervision import race, supervise

_PAGE = 200
_SOON = 0.2
_JITTER = 0.3
_BRISK = 0.5
"""Seconds between two looks where there was work just now; one run seldom comes alone."""
_COURTEOUS = 10.0
"""Seconds between two looks while the server refuses writes: as often as Prefect 3.8.8's own worker."""
_EASING = 1.5
"""By which the pause grows with each look that finds nothing, up to the longest."""


class Agent:
    """Serves the queues of one work pool."""

    def __init__(
        self,
        api: Api,
        options: AgentOptions,
        launchers: Mapping[str, Launcher],
        *,
        code: CodeProvider | None = None,
        clock: Clock | None = None,
        observe: Observer = silent,
    ) -> None:
        clock = clock or SystemClock()
        presence = Presence(
            api, options.pool, options.name, options.heartbeat_seconds, clock, options.host_dir
        )
        self._context = Context(
            api, options, launchers, presence, Checkouts(code or NoCode()), clock, observe
        )
        self._queues = Queues(api, options, clock)
        self._slots = Slots(options.limit)
        self._active: dict[str, ActiveRun] = {}
        self._survey = Survey(self._context, self._queues, self._active, self._slots, self._take_on)
        self._runs: anyio.abc.TaskGroup | None = None
        self._pause = 0.0

    @property
    def active(self) -> int:
        """How many runs it is at work on."""
        return len(self._active)

    async def logs(self, run: FlowRun, lines: int) -> tuple[str, ...]:
        """Return the last lines that a run's infrastructure wrote, oldest first.

        Raises:
            NotLaunchable: nobody knows what made its infrastructure.
        """
        context = self._context
        token = await launch_token(context.api, run.id)
        if token is None:
            return ()
        launcher, sought = await sought_at(context, token, run)
        if launcher is None:
            raise NotLaunchable(
                "its deployment and block are gone, and no infrastructure_pid tells the type"
            )
        return await launcher.logs(sought, lines)

    async def close(self) -> None:
        """Close the connections of an agent that did not run."""
        for launcher in self._context.launchers.values():
            await launcher.close()

    async def run(self, stop: anyio.Event) -> None:
        """Serve until `stop` is set, then drain; with `run_once`, one look's runs only.

        Raises:
            UsageError: the pool is not one for agents.
            ReconcilerError: the API can't be used at the start.
        """
        context = self._context
        await self._queues.prepare()
        await context.presence.beat()
        async with anyio.create_task_group() as helpers:
            helpers.start_soon(self._supervised, context.presence.keep_beating)
            for launcher in context.launchers.values():
                helpers.start_soon(self._supervised, launcher.watch)
            async with anyio.create_task_group() as self._runs:
                text = f"Agent {context.presence.worker} serves {context.options.pool}"
                context.observe(AgentEvent(Happening.READY, text))
                await self._serve(stop)
            helpers.cancel_scope.cancel()
        await context.presence.leave()

    async def _serve(self, stop: anyio.Event) -> None:
        """Take runs on until told to stop, then wish that those at work stop too."""
        await self._survey.look()
        survey = partial(self._supervised, self._survey.keep_looking)
        if self._context.options.run_once:
            await self._look_once()
            await race(stop.wait, survey, self._until_idle)
        else:
            await race(stop.wait, survey, partial(self._supervised, self._keep_polling))
        for active in self._active.values():
            active.stop.wish(Stop.DRAIN)

    async def _keep_polling(self) -> None:
        while True:
            if self._slots.free == 0:
                await self._slots.freed()
            await self._context.clock.sleep(await self.poll())

    async def _look_once(self) -> None:
        """Take on the runs that are due at this moment.

        Our notion of the server's clock can lag, so a run that was made just now may seem not to be
        due yet. Those within the lag get a second look when they are.
        """
        clock = self._context.clock
        known_by = clock.monotonic() + CLOCK_LAG
        pause = await self._look()
        while self._slots.free != 0 and clock.monotonic() + pause <= known_by:
            await clock.sleep(pause)
            pause = await self._look()

    async def poll(self) -> float:
        """Look for due runs once and take on what there are slots for.

        Known ahead are the moments when runs become due, not the runs: at such a moment the server
        is asked anew, so that nothing is claimed which was paused, moved or deleted meanwhile.

        Returns:
            Seconds after which to look again.
        """
        longest = self._context.options.poll_seconds
        soon = await self._look()
        pause = self._pause = min(max(self._pause * _EASING, _BRISK), longest)
        if self._context.api.strained:
            pause = max(pause, _COURTEOUS)
        return min(pause * (1 + _JITTER * random.uniform(-1, 1)), soon)  # noqa: S311

    async def _look(self) -> float:
        """Take on what is due; return the seconds after which more is known to be, else infinity."""
        context, free = self._context, self._slots.free
        # With runs to choose among, a page cut to the free slots could hold others only.
        limit = _PAGE if free is None or context.options.only else min(_PAGE, max(1, free))
        names = await self._queues.names()
        if names == ():
            return math.inf
        horizon = context.api.now() + timedelta(seconds=context.options.prefetch_seconds)
        try:
            listed = await due_runs(context.api, context.options.pool, names, horizon, limit)
        except NotFound:
            # A queue or the pool was deleted; both can come back.
            self._queues.forget()
            await self._queues.prepare()
            return math.inf
        wanted = [run for run in listed if context.options.looks_after(run.id)]
        more = len(listed) == limit
        return self._take_due(wanted, more=more)

    def _take_due(self, listed: Sequence[FlowRun], *, more: bool) -> float:
        """Take on what is due by the server's clock; return after how long more may be.

        Args:
            listed: runs that are due, or soon will be.
            more: the listing was cut.
        """
        now = self._context.api.now()
        due = [run for run in listed if run.due is None or run.due <= now]
        for run in due:
            if run.id not in self._active:
                if not self._slots.take():
                    break
                self._pause = 0.0
                token = new_token(self._context.presence.worker)
                self._take_on(run, token, partial(run_flow, self._context))
        if due and more:
            return _SOON
        waits = [(run.due - now).total_seconds() for run in listed if run.due and run.due > now]
        return max(min(waits, default=math.inf), _SOON)

    def _take_on(self, run: FlowRun, token: str, job: Job) -> None:
        if self._runs is None:
            raise RuntimeError("the agent is not running")
        began, worker = self._context.clock.monotonic(), self._context.presence.worker
        active = ActiveRun(run, token, began, worker)
        self._active[run.id] = active
        self._runs.start_soon(self._work, active, job)

    async def _work(self, active: ActiveRun, job: Job) -> None:
        try:
            await job(active)
        except Exception as error:  # noqa: BLE001 - no run may take the others along
            text = f"Flow run {active.run.name}: {_words(error)}; the next survey looks after it"
            self._context.tell(Happening.PROBLEM, active.run, text)
        finally:
            del self._active[active.run.id]
            self._slots.give_back()
            self._context.code.give_back(active.run.id)

    async def _until_idle(self) -> None:
        while self._active:
            await self._slots.freed()

    async def _supervised(self, job: Callable[[], Awaitable[None]]) -> None:
        await supervise(job, self._context.clock, self._failed)

    def _failed(self, error: Exception) -> None:
        self._context.observe(AgentEvent(Happening.PROBLEM, _words(error)))


def _words(error: Exception) -> str:
    """Say what went wrong; of an error that nobody foresaw, its kind only: it may hold anything."""
    if isinstance(error, ReconcilerError):
        return f"{error.message} ({error.hint})" if error.hint else error.message
    return f"unexpected {type(error).__name__}"
