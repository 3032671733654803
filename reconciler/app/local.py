"""The local one-command version: server, follower and agent in one process."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import anyio

from reconciler.agent.loop import Agent
from reconciler.api.client import Api, Repeat
from reconciler.api.embedded import EmbeddedServer, embedded_server
from reconciler.app.agent import AgentListeners, agent_options, declared_queues, make_agent
from reconciler.app.code import AppliedCode
from reconciler.app.wiring import App
from reconciler.controller import pipeline
from reconciler.controller.follow import Follower, Reconciled
from reconciler.errors import InvalidManifests, SourceError, SourceUnavailable
from reconciler.manifests.load import LoadOptions
from reconciler.model.keys import Key
from reconciler.model.wishes import Location, Wishes
from reconciler.settings import ConnectionSettings
from reconciler.source.base import Source
from reconciler.source.changes import StableSource, changes
from reconciler.source.checkouts import Checkouts

DRIFT_SECONDS = 30.0
"""How often a local run looks for drift."""
_FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How one flow run of `up --once` ended."""

    deployment: str
    name: str
    state: str
    message: str


class Local:
    """Everything that `reconciler up` runs, made for one API."""

    def __init__(self, app: App, api: Api, follower: Follower, agent: Agent) -> None:
        self._app = app
        self._api = api
        self._follower = follower
        self._agent = agent

    async def run(
        self, directory: str | None, listener: Callable[[Reconciled], None], stop: anyio.Event
    ) -> None:
        """Serve until `stop` is set; then the agent drains.

        Args:
            directory: what to watch; None where the source is a repository.
            listener: told of each turn.
            stop: ends it.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(self._follower.run, listener, DRIFT_SECONDS)
            if directory is not None:
                group.start_soon(self._watch, directory)
            await self._agent.run(stop)
            group.cancel_scope.cancel()

    async def _watch(self, directory: str) -> None:
        async for _ in changes(Path(directory)):
            self._follower.wake()

    async def once(
        self, listener: Callable[[Reconciled], None], stop: anyio.Event, seconds: float
    ) -> list[RunEnd]:
        """Apply, run each deployment that isn't paused once, and wait for the ends.

        Args:
            listener: told of the one turn.
            stop: ends it early.
            seconds: how long to wait for the runs.
        """
        turn = await self._follower.turn()
        listener(turn)
        if turn.error is not None:
            raise turn.error
        if turn.report is None or not turn.report.converged:
            return []
        runs = await self._start_all()
        ends: list[RunEnd] = []
        async with anyio.create_task_group() as group:
            group.start_soon(self._agent.run, stop)
            with anyio.move_on_after(seconds):
                ends = await self._ends(runs)
            stop.set()
        return ends

    async def _start_all(self) -> dict[str, Key]:
        desired = self._follower.desired
        runs = {}
        for key in () if desired is None else desired.declarations:
            if key.kind == "deployment":
                live = await self._api.get(f"/deployments/name/{_path(key)}")
                if not live["paused"]:
                    runs[await self._start(str(live["id"]))] = key
        return runs

    async def _start(self, deployment_id: str) -> str:
        body = {"state": {"type": "SCHEDULED"}, "idempotency_key": str(uuid4())}
        made = await self._api.post(
            f"/deployments/{deployment_id}/create_flow_run", body, repeat=Repeat.SAFE
        )
        return str(made["id"])

    async def _ends(self, runs: dict[str, Key]) -> list[RunEnd]:
        ends: dict[str, RunEnd] = {}
        while len(ends) < len(runs):
            await self._app.clock.sleep(_LOOK_SECONDS)
            for run_id in runs.keys() - ends.keys():
                run = await self._api.get(f"/flow_runs/{run_id}")
                if run["state_type"] in _FINAL:
                    ends[run_id] = _end(runs[run_id], run)
        return list(ends.values())


def _path(key: Key) -> str:
    return "/".join(quote(part, safe="") for part in key.parts)


def _end(key: Key, run: dict[str, Any]) -> RunEnd:
    message = (run.get("state") or {}).get("message") or ""
    return RunEnd(str(key), str(run["name"]), str(run["state_type"]), message)


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
) -> AsyncIterator[Local]:
    """Wire it all for a connection."""
    code = AppliedCode(Checkouts(app.settings.service.state_dir))
    source = app.source(where)
    options = await app.load_options(where, wishes)
    withheld = await _secret_prefixes(source, options)
    async with app.desk(connection) as desk:
        stable = source if where.repo else StableSource(source, app.clock)
        follower = Follower(desk, stable, options, wishes, code.applied)
        settings = app.settings.agent
        agent = make_agent(
            app,
            desk.api,
            agent_options(
                settings, connection, lambda: declared_queues(follower.desired, settings.pool)
            ),
            code,
            listeners,
            withheld,
        )
        yield Local(app, desk.api, follower, agent)


async def _secret_prefixes(source: Source, options: LoadOptions) -> tuple[str, ...]:
    """Return the prefixes of variables that hold secrets, as far as the policy can be read."""
    try:
        desired = pipeline.read_policy_only(await source.fetch(), options)
    except (InvalidManifests, SourceError, SourceUnavailable):
        return ()  # nothing is applied then, and the follower says why
    return tuple(one.env for one in desired.policy.secrets if one.env)
