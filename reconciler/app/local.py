"""The local one-command version: server, follower and agent in one process."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import anyio

from reconciler.agent.loop import Agent
from reconciler.api.client import Api, Repeat
from reconciler.api.embedded import EmbeddedServer, embedded_server
from reconciler.app.agent import (
    AgentListeners,
    agent_options,
    following_queues,
    make_agent,
    policy_of,
    secret_prefixes,
)
from reconciler.app.code import AppliedCode
from reconciler.app.wiring import App
from reconciler.controller.follow import Follower, Reconciled
from reconciler.errors import ReconcilerError
from reconciler.model.keys import Key
from reconciler.model.wishes import Location, Wishes
from reconciler.runtime.supervision import supervise
from reconciler.settings import ConnectionSettings
from reconciler.source.changes import StableSource, changes
from reconciler.source.checkouts import Checkouts

LIMIT = 4
"""Most flow runs at a time where neither settings nor policy say: a server that was off for a night
has a hundred late runs, and all at once would be too much for the machine of somebody who tries."""
DRIFT_SECONDS = 30.0
"""How often a local run looks for drift."""
_FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How one flow run of `up --once` ended.

    Attributes:
        deployment: its key.
        name: of the flow run; "" where none was started.
        state: type of its state, `COMPLETED`; None where none was started.
        message: what the state says, or why none was started.
    """

    deployment: str
    name: str
    state: str | None
    message: str

    @property
    def good(self) -> bool:
        """Whether nothing went wrong."""
        return self.state in (None, "COMPLETED")


class Local:
    """Everything that `reconciler up` runs, made for one API."""

    def __init__(
        self, app: App, api: Api, follower: Follower, agent: Agent, started: dict[str, Key]
    ) -> None:
        """Wire it.

        Args:
            app: settings and clock.
            api: the server.
            follower: keeps the server in step.
            agent: launches runs.
            started: is filled with the runs that `once` starts; the agent looks at it.
        """
        self._app = app
        self._api = api
        self._follower = follower
        self._agent = agent
        self._started = started

    async def run(
        self, directory: str | None, listener: Callable[[Reconciled], None], stop: anyio.Event
    ) -> None:
        """Serve until `stop` is set; then the agent drains.

        Args:
            directory: what to watch; None where the source is a repository.
            listener: told of each turn.
            stop: ends it.
        """

        def failed(error: Exception) -> None:
            listener(Reconciled(None, _explained(error)))

        follow = partial(self._follower.run, listener, DRIFT_SECONDS)
        async with anyio.create_task_group() as group:
            group.start_soon(supervise, follow, self._app.clock, failed)
            if directory is not None:
                watch = partial(self._watch, directory)
                group.start_soon(supervise, watch, self._app.clock, failed)
            await self._agent.run(stop)
            group.cancel_scope.cancel()

    async def _watch(self, directory: str) -> None:
        async for _ in changes(Path(directory)):
            self._follower.wake()

    async def once(
        self, listener: Callable[[Reconciled], None], stop: anyio.Event, seconds: float
    ) -> list[RunEnd] | None:
        """Apply, run each deployment that isn't paused once, and wait for the ends.

        Args:
            listener: told of the one turn.
            stop: ends it early.
            seconds: how long to wait for the runs.

        Returns:
            The ends; None where not all could be applied, and so nothing was run.

        Raises:
            ReconcilerError: nothing could be applied.
        """
        turn = await self._follower.turn()
        if turn.error is not None:
            raise turn.error
        listener(turn)
        if turn.report is None or not turn.report.converged:
            return None
        left_out = await self._start_all()
        async with anyio.create_task_group() as group:
            group.start_soon(self._wait, stop, seconds)
            await self._agent.run(stop)
            group.cancel_scope.cancel()
        return [await self._end(run_id, seconds) for run_id in self._started] + left_out

    async def _wait(self, stop: anyio.Event, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._all_ended()
        stop.set()

    async def _start_all(self) -> list[RunEnd]:
        """Start a run of each deployment; return those that are left out, and why."""
        desired, left_out = self._follower.desired, []
        for key in () if desired is None else desired.declarations:
            if key.kind != "deployment":
                continue
            live = await self._api.get(f"/deployments/name/{_path(key)}")
            if why := self._left_out(live):
                left_out.append(RunEnd(str(key), "", None, why))
            else:
                self._started[await self._start(str(live["id"]))] = key
        return left_out

    def _left_out(self, live: dict[str, Any]) -> str | None:
        pool = live["work_pool_name"]
        if live["paused"]:
            return "paused"
        if pool is not None and pool != self._app.settings.agent.pool:
            return f"the work pool {pool!r} has workers of its own"
        return None

    async def _start(self, deployment_id: str) -> str:
        body = {"state": {"type": "SCHEDULED"}, "idempotency_key": str(uuid4())}
        made = await self._api.post(
            f"/deployments/{deployment_id}/create_flow_run", body, repeat=Repeat.SAFE
        )
        return str(made["id"])

    async def _all_ended(self) -> None:
        open_ = set(self._started)
        while open_ or self._agent.active:  # a process ends a little later than its run
            await self._app.clock.sleep(_LOOK_SECONDS)
            for run_id in sorted(open_):
                run = await self._api.get(f"/flow_runs/{run_id}")
                if run["state_type"] in _FINAL:
                    open_.remove(run_id)

    async def _end(self, run_id: str, seconds: float) -> RunEnd:
        run = await self._api.get(f"/flow_runs/{run_id}")
        state = str(run["state_type"])
        message = (run.get("state") or {}).get("message") or ""
        if state not in _FINAL:
            message = f"did not end within {seconds:g} s"
        return RunEnd(str(self._started[run_id]), str(run["name"]), state, message)


def _path(key: Key) -> str:
    return "/".join(quote(part, safe="") for part in key.parts)


def _explained(error: Exception) -> ReconcilerError:
    """Say what went wrong; of an error that nobody foresaw, its kind only: it may hold anything."""
    if isinstance(error, ReconcilerError):
        return error
    if isinstance(error, OSError) and error.strerror:
        return ReconcilerError(f"this machine refuses: {error.strerror}", hint=error.filename)
    return ReconcilerError(f"unexpected {type(error).__name__}; it is tried again")


@asynccontextmanager
async def server(
    app: App, *, embedded: bool
) -> AsyncIterator[tuple[ConnectionSettings, EmbeddedServer | None]]:
    """Give the connection to the configured API, or run an embedded one for the block."""
    if not embedded and app.settings.connection.api_url is not None:
        yield app.settings.connection, None
        return
    folder = app.settings.service.state_dir / "server"
    async with embedded_server(folder, app.environ, app.clock) as running:
        yield ConnectionSettings.to(running.url), running


@asynccontextmanager
async def local(
    app: App,
    connection: ConnectionSettings,
    where: Location,
    wishes: Wishes,
    listeners: AgentListeners,
    *,
    once: bool = False,
) -> AsyncIterator[Local]:
    """Wire it all for a connection.

    Args:
        app: settings and clock.
        connection: to the API.
        where: the manifests are.
        wishes: of the user.
        listeners: told what the agent does.
        once: for `Local.once`: the agent looks after the runs that it starts, and no others.
    """
    started: dict[str, Key] = {}
    code = AppliedCode(Checkouts(app.settings.service.state_dir))
    source = app.source(where)
    options = await app.load_options(where, wishes)
    policy = await policy_of(source, options)
    async with app.desk(connection) as desk:
        stable = source if where.repo else StableSource(source, app.clock)
        follower = Follower(desk, stable, options, wishes, code.applied)
        settings = app.settings.agent
        agent_is_to = agent_options(
            settings,
            connection,
            following_queues(lambda: follower.desired, settings.pool),
            policy=policy,
            only=started.keys if once else None,
        )
        agent = make_agent(
            app,
            desk.api,
            replace(agent_is_to, limit=agent_is_to.limit or LIMIT),
            code,
            listeners,
            lambda: secret_prefixes(
                policy if follower.desired is None else follower.desired.policy
            ),
        )
        yield Local(app, desk.api, follower, agent, started)
