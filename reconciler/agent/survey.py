"""Surveys of claimed runs: passes cancellations on, and takes over what nobody is at work on."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial

from reconciler.agent.context import ActiveRun, Context, Stop
from reconciler.agent.finish import back_to_queue, crash, mark_cancelled
from reconciler.agent.observer import Happening
from reconciler.agent.presence import Peers
from reconciler.agent.queues import Queues
from reconciler.agent.recover import Finding, Recovery, look
from reconciler.agent.run import attend, relaunch
from reconciler.api.runs import FINAL, FlowRun, read_run, runs_in
from reconciler.runtime.slots import Slots

_FULL_EVERY = 60.0
"""Seconds between two surveys that look at RUNNING runs too: they end seldom without a word."""
_FORGET_AGENTS = timedelta(hours=1)

Job = Callable[[ActiveRun], Awaitable[None]]
TakeOn = Callable[[FlowRun, str, Job], None]
"""Starts a job for a run under a token; the slot has been taken."""

_POLLS = 2.5
"""Pauses between two surveys: a survey costs more than a look for due runs, and nobody waits for it."""


class Survey:
    """Looks at all claimed runs of the pool, in one listing."""

    def __init__(
        self,
        context: Context,
        queues: Queues,
        active: Mapping[str, ActiveRun],
        slots: Slots,
        take_on: TakeOn,
    ) -> None:
        self._context = context
        self._queues = queues
        self._active = active
        self._slots = slots
        self._take_on = take_on
        self._full_at: float | None = None

    async def keep_looking(self) -> None:
        """Look again and again."""
        while True:
            await self.look()
            await self._context.clock.sleep(_POLLS * self._context.options.poll_seconds)

    async def look(self) -> None:
        """Look once; runs that we are at work on are only told of their cancellation."""
        full = self._full_is_due()
        types = ["PENDING", "CANCELLING", *(["RUNNING"] if full else [])]
        strays = []
        for run in await runs_in(self._context.api, self._context.options.pool, types):
            if not self._context.options.looks_after(run.id):
                continue
            active = self._active.get(run.id)
            if active is None:
                strays.append(run)
            elif run.cancelling:
                active.stop.wish(Stop.CANCEL)
        if strays or full:
            peers = await self._context.presence.peers()
            for run in strays:
                await self._see_to(peers, run)
            if full:
                await self._forget_agents(peers)
                self._full_at = self._context.clock.monotonic()

    async def _see_to(self, peers: Peers, run: FlowRun) -> None:
        finding = await look(self._context, peers, run)
        if finding is None:
            if run.cancelling and run.pid is None and peers.i_lead:
                await self._cancel_unlaunched(run)
            return
        if finding.what is Recovery.LEAVE or not await self._unchanged(run):
            return
        if finding.what is Recovery.ATTACH:
            self._attach(finding)
        elif run.cancelling:
            await mark_cancelled(self._context, run)
        elif finding.what is Recovery.LAUNCH:
            await self._launch(finding)
        else:
            await self._give_up(run)

    async def _unchanged(self, run: FlowRun) -> bool:
        """Read a run again: since the listing it may have ended under our own hands."""
        now = await read_run(self._context.api, run.id)
        return (
            now is not None
            and now.id not in self._active
            and (now.state.type, now.state.transition_id, now.pid)
            == (run.state.type, run.state.transition_id, run.pid)
        )

    def _attach(self, finding: Finding) -> None:
        found, launcher, run = finding.found, finding.launcher, finding.run
        if found is None or launcher is None:
            raise ValueError("nothing was found to attach to")
        self._slots.overdraw()

        async def job(active: ActiveRun) -> None:
            if run.cancelling:
                active.stop.wish(Stop.CANCEL)
            await attend(self._context, active, launcher, found.handle)

        self._take_on(run, finding.token, job)
        if found.alive:
            text = f"Found flow run {run.name} at work ({found.handle.pid}) and watch it again"
            self._context.tell(Happening.ATTACHED, run, text, infrastructure=launcher.slug)

    async def _launch(self, finding: Finding) -> None:
        if not self._queues.serves(finding.run.queue) or not self._slots.take():
            reason = "The agent that claimed the run is gone, and no other could take it on."
            await back_to_queue(self._context, finding.run, reason)
            return
        self._take_on(finding.run, finding.token, partial(relaunch, self._context))

    async def _give_up(self, run: FlowRun) -> None:
        where = f" ({run.pid})" if run.pid else ""
        message = f"The agent that ran this flow run is gone, and its infrastructure{where} can't be found."
        await crash(self._context, run, message)
        self._context.tell(Happening.ENDED, run, f"Flow run {run.name} crashed: {message}")

    async def _cancel_unlaunched(self, run: FlowRun) -> None:
        """Cancel a run without a handle that no agent of ours claimed, as Prefect's agent does."""
        if (await self._context.presence.peers()).i_lead and run.state.type not in FINAL:
            await mark_cancelled(self._context, run)

    async def _forget_agents(self, peers: Peers) -> None:
        """Take agents off the pool's list that are gone for so long that nothing hangs on them."""
        limit = _FORGET_AGENTS + timedelta(seconds=self._context.options.lost_after_seconds)
        now = self._context.api.now()
        if peers.i_lead:
            old = [w for w in peers.gone if w.heartbeat is None or now - w.heartbeat > limit]
            await self._context.presence.bury(old)

    def _full_is_due(self) -> bool:
        now = self._context.clock.monotonic()
        return self._full_at is None or now - self._full_at >= _FULL_EVERY
