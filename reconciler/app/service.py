"""The service: source, reconciler, agent and pages in one process, each failing and recovering alone."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from reconciler.agent.observer import AgentEvent, Happening
from reconciler.agent.records import grown
from reconciler.app.agent import (
    AgentListeners,
    agent_options,
    following_queues,
    make_agent,
    policy_of,
    secret_prefixes,
)
from reconciler.app.code import AppliedCode, FollowedCode
from reconciler.app.messages import Messenger, receivers
from reconciler.app.servicelog import failed, log, tell_turn
from reconciler.app.statuses import statuses
from reconciler.app.wiring import App
from reconciler.controller.board import Board
from reconciler.controller.concerns import concerns, healed
from reconciler.controller.follow import Follower, Reconciled
from reconciler.controller.history import History
from reconciler.controller.pipeline import Desk
from reconciler.controller.polled import PolledSource
from reconciler.errors import (
    HistoryUnavailable,
    ReconcilerError,
    SourceUnavailable,
)
from reconciler.manifests.load import LoadOptions
from reconciler.model.keys import Key
from reconciler.model.plan import Plan
from reconciler.model.policy import Policy
from reconciler.model.status import Concern, Message, RunRecord, SourceStatus
from reconciler.model.wishes import Location, Wishes
from reconciler.runtime import memory
from reconciler.runtime.backoff import Backoff
from reconciler.runtime.supervision import race, supervise
from reconciler.source.checkouts import Checkouts
from reconciler.source.git.address import parse
from reconciler.telemetry.metrics import Metrics
from reconciler.web.app import make_app
from reconciler.web.backend import AgentStatus, Place
from reconciler.web.server import bind, serve

if TYPE_CHECKING:
    from reconciler.agent.code import CodeProvider
    from reconciler.agent.loop import Agent

_AGAIN_SECONDS = 2.0
_LAST_TURN_SECONDS = 20.0
"""How long a turn that is under way may take to end when the service is told to stop."""


@dataclass(frozen=True, slots=True)
class Halves:
    """Which halves a service runs."""

    reconcile: bool = True
    agent: bool = True


class Service:
    """A running service; what pages and API ask (`web.backend.Backend`)."""

    def __init__(
        self, app: App, where: Location, wishes: Wishes, halves: Halves, history: History
    ) -> None:
        """Wire what lives as long as the process.

        Raises:
            SourceError: the repository can't be one.
            UsageError: the address can't be listened on.
        """
        settings = app.settings
        self._app = app
        self._where = where
        self._wishes = wishes
        self._halves = halves
        self.metrics = Metrics()
        self.board = Board(history, app.clock, self.metrics)
        self.shown = parse(where.repo or "").shown if where.repo else where.path
        source = app.git_source(where, shared=True)
        self._source = PolledSource(source, app.clock, settings.source.poll_seconds)
        self._code = AppliedCode(Checkouts(settings.service.state_dir), on_demand=True)
        self._follower: Follower | None = None
        self._agent: Agent | None = None
        self._limit: int | None = None
        self._server = ""
        self._trouble: str | None = "the Prefect API was not reached yet"
        self._runs: dict[str, RunRecord] = {}
        self._statuses = statuses(settings.forge, self.shown, app.clock, history)
        self._messengers = tuple(
            Messenger(each, self.board, app.clock, settings.notify, self._concerns, self._blank)
            for each in receivers(settings.notify)
        )
        self.listening = bind(settings.web.host, settings.web.port)

    # -- what pages and API ask ---------------------------------------------------------------

    @property
    def place(self) -> Place:
        """Where it stands."""
        url = self._app.settings.connection.api_url or ""
        plan = self.board.standing.plan
        return Place(url, self._server, "" if plan is None else plan.inventory)

    @property
    def source(self) -> SourceStatus | None:
        """What it follows; None if it only runs the agent."""
        if not self._halves.reconcile:
            return None
        polled = self._source
        return SourceStatus(
            self.shown,
            self._where.ref,
            self._where.path,
            None if polled.snapshot is None else polled.snapshot.revision,
            polled.fetched_at,
            None if polled.error is None else polled.error.message,
            None if polled.error is None else polled.error.hint,
        )

    @property
    def agent(self) -> AgentStatus | None:
        """Its agent; None if it only reconciles."""
        if not self._halves.agent:
            return None
        settings = self._app.settings.agent
        active = 0 if self._agent is None else self._agent.active
        return AgentStatus(settings.name, settings.pool, active, self._limit)

    @property
    def unready(self) -> str | None:
        """Why it should get no traffic yet."""
        if self._trouble is not None:
            return self._trouble
        if self._halves.reconcile and self.board.standing.turned_at is None:
            return "the first reconciliation has not ended yet"
        return None

    def poll(self) -> None:
        """Ask the remote now whether the ref moved."""
        self._source.wake()

    def reconcile(self) -> None:
        """Take a turn now, with what the remote has now."""
        self._source.wake()
        if self._follower is not None:
            self._follower.wake()

    def suspend(self, suspended: bool) -> None:  # noqa: FBT001 - the value is the verb's object
        """Let turns only look, or go on."""
        self.board.suspend(suspended)
        log.info("reconciling is suspended" if suspended else "reconciling goes on")
        if self._follower is not None:
            self._follower.wake()

    def heal(self, key: Key) -> None:
        """Take git's values for one resource at the next turn."""
        if self._follower is not None:
            self._follower.heal(key)

    # -- its loops ----------------------------------------------------------------------------

    async def run(self, stop: anyio.Event) -> None:
        """Serve until `stop` is set; then a turn under way ends and the agent drains."""
        clock = self._app.clock
        pages = make_app(self, self._app.settings.web, clock)
        async with anyio.create_task_group() as group:
            group.start_soon(supervise, partial(serve, pages, self.listening), clock, failed("web"))
            group.start_soon(
                supervise, partial(self._source.run, self._moved), clock, failed("source")
            )
            for each in self._messengers:
                group.start_soon(supervise, each.run, clock, failed("messages"))
            if self._statuses is not None:
                group.start_soon(supervise, self._statuses.run, clock, failed("commit statuses"))
            await supervise(partial(self._work, stop), clock, self._lost)
            group.cancel_scope.cancel()

    async def _work(self, stop: anyio.Event) -> None:
        """Connect, and run both halves until told to stop; the connection is tried again for ever."""
        if stop.is_set():
            return
        reached = anyio.Event()

        async def work() -> None:
            async with self._app.desk(observer=self.metrics.request) as desk:
                reached.set()
                self._server, self._trouble = str(desk.api.facts), None
                await self._both(desk, stop)

        async def give_up() -> None:
            await stop.wait()
            if reached.is_set():
                await anyio.sleep_forever()

        await race(work, give_up)

    async def _both(self, desk: Desk, stop: anyio.Event) -> None:
        clock = self._app.clock
        options = await self._app.load_options(self._where, self._wishes)
        follower = Follower(
            desk, self._source, options, self._wishes, self._code.applied, permit=self._permit
        )
        async with anyio.create_task_group() as group:
            if self._halves.reconcile:
                self._follower = follower
                follow = partial(self._keep_reconciling, follower, stop)
                group.start_soon(supervise, follow, clock, failed("reconciler"))
            if self._halves.agent:
                launch = partial(self._launch, desk, follower, options, stop)
                group.start_soon(supervise, launch, clock, failed("agent"))
            await stop.wait()

    async def _permit(self, plan: Plan) -> None:
        """Let a plan be carried out, now that we hold the lease.

        Another replica may have seen and applied a newer revision: the remote is asked once more.
        Where it does not answer, only drift is healed; what git would change may be out of date.
        """
        if await self._source.confirm() or plan.only_heals:
            return
        raise SourceUnavailable(
            "the repository does not say whether this is still the newest revision; until it does"
            " only drift is healed"
        )

    async def _keep_reconciling(self, follower: Follower, stop: anyio.Event) -> None:
        """Take a turn whenever something moved, and now and then for drift.

        After a turn that did not go well the next one comes sooner: trouble may have passed.
        """
        drift = self._app.settings.source.drift_seconds
        clock = self._app.clock
        calm = Backoff(drift, ceiling=drift, jitter=0.1).delays()
        again = Backoff(_AGAIN_SECONDS, ceiling=drift)
        soon = again.delays()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_later, scope, stop)
                due = 0.0
                while not stop.is_set():
                    if clock.monotonic() >= due:
                        follower.wake()  # whatever else it is for, it looks at everything
                    turn = await self._turn(follower)
                    if turn.whole:
                        due = clock.monotonic() + next(calm)
                    if turn.settled:
                        wait, soon = max(0.0, due - clock.monotonic()), again.delays()
                    else:
                        wait = next(soon)
                    with anyio.move_on_after(wait):
                        await race(follower.wanted, stop.wait)
                group.cancel_scope.cancel()

    async def _turn(self, follower: Follower) -> Reconciled:
        follower.suspended = self.board.standing.suspended
        began = self._app.clock.now()
        turn = await follower.turn()
        for each in self._messengers:
            each.heal(healed(turn.report))
        await self.board.turn(turn, follower.desired, began)
        tell_turn(turn)
        self._mark(turn)
        if turn.whole:
            memory.settle()
        return turn

    def _mark(self, turn: Reconciled) -> None:
        if self._statuses is not None:
            self._statuses.turn(turn, self._app.settings.web.url)

    def _concerns(self) -> dict[str, Concern]:
        return concerns(self.board.standing, self.source, self._trouble)

    def _blank(self) -> Message:
        place, revision = self.place, self.board.standing.revision
        return Message(place.inventory, place.api, revision, link=self._app.settings.web.url)

    async def _launch(
        self, desk: Desk, follower: Follower, options: LoadOptions, stop: anyio.Event
    ) -> None:
        """Run an agent; a failed one is followed by another."""
        if stop.is_set():
            return
        policy = await policy_of(self._source, options)
        settings, connection = self._app.settings.agent, self._app.settings.connection
        made_of = agent_options(
            settings,
            connection,
            self._queues(follower, policy),
            policy=policy,
        )
        self._limit = made_of.limit
        code: CodeProvider = self._code
        if not self._halves.reconcile:
            checkouts = Checkouts(self._app.settings.service.state_dir)
            code = FollowedCode(self._source, checkouts, self._app.clock)
        self._agent = make_agent(
            self._app,
            desk.api,
            made_of,
            code,
            AgentListeners(self._happened, self._wrote),
            lambda: secret_prefixes(
                policy if follower.desired is None else follower.desired.policy
            ),
        )
        await self._agent.run(stop)

    def _queues(self, follower: Follower, policy: Policy | None) -> Callable[[], tuple[str, ...]]:
        if self._halves.reconcile:
            return following_queues(lambda: follower.desired, self._app.settings.agent.pool)
        return lambda: () if policy is None else policy.agent.queues or ()

    def _moved(self) -> None:
        error = self._source.error
        if error is not None:
            log.warning("the repository can't be read", reason=error.message, hint=error.hint)
        elif self._source.snapshot is not None:
            log.info("fetched", revision=self._source.snapshot.revision)
        self.board.bump()
        if self._follower is not None:
            self._follower.moved()

    def _lost(self, error: Exception) -> None:
        self._trouble = error.message if isinstance(error, ReconcilerError) else "unexpected error"
        self._follower = self._agent = None
        failed("the Prefect API")(error)
        self.board.bump()

    def _happened(self, event: AgentEvent) -> None:
        """Note and tell what the agent did."""
        level = "warning" if event.what is Happening.PROBLEM else "info"
        getattr(log, level)(event.text, run=event.run_id, what=event.what.value)
        active = 0 if self._agent is None else self._agent.active
        self.metrics.slots(active, self._limit)
        infrastructure = event.infrastructure or "unknown"
        if event.what is Happening.STARTED and event.seconds is not None:
            self.metrics.launched(infrastructure, event.seconds)
        if event.what is Happening.ENDED:
            self.metrics.run_ended(infrastructure, (event.state or "deleted").lower())
        record = grown(self._runs.get(event.run_id or ""), event, self._app.clock.now())
        if record is not None:
            self._keep(record)
        self.board.bump()

    def _keep(self, record: RunRecord) -> None:
        if record.ended is None:
            self._runs[record.id] = record
        else:
            self._runs.pop(record.id, None)
        try:
            self.board.history.put_run(record)
        except HistoryUnavailable as error:
            log.warning(error.message, hint=error.hint)

    def _wrote(self, run_id: str, line: str) -> None:
        record = self._runs.get(run_id)
        log.info("flow run output", run=record.name if record else run_id, line=line)


@asynccontextmanager
async def service(
    app: App, where: Location, wishes: Wishes, halves: Halves
) -> AsyncIterator[Service]:
    """Make a service and close it after the block.

    Raises:
        ReconcilerError: it can't be made.
    """
    history = await anyio.to_thread.run_sync(History, app.settings.service.state_dir)
    try:
        made = Service(app, where, wishes, halves, history)
        try:
            yield made
        finally:
            made.listening.close()
    finally:
        history.close()


async def _cancel_later(scope: anyio.CancelScope, stop: anyio.Event) -> None:
    await stop.wait()
    await anyio.sleep(_LAST_TURN_SECONDS)
    scope.cancel()
