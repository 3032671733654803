"""What `reconciler agent` does."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio

from reconciler.agent.code import CodeProvider, NoCode
from reconciler.agent.loop import Agent
from reconciler.app import App
from reconciler.app.agent import AgentListeners, agent_options, make_agent
from reconciler.app.code import FollowedCode
from reconciler.cli.upwork import Voice, stop_on_signal
from reconciler.cli.work import begin
from reconciler.model.wishes import Location
from reconciler.source.checkouts import Checkouts


async def agent(
    where: Location | None, given: Mapping[str, Any], run_once: bool, verbose: int
) -> None:
    """Run the agent until it is told to stop."""
    app = begin(verbose)
    settings = app.settings.agent.model_copy(update=dict(given))
    app = replace(app, settings=app.settings.model_copy(update={"agent": settings}))
    stop = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(stop_on_signal, stop, group.cancel_scope)
        await _serve(app, where, stop, run_once=run_once)
        group.cancel_scope.cancel()


async def _serve(app: App, where: Location | None, stop: anyio.Event, *, run_once: bool) -> None:
    connection = app.settings.connection
    options = agent_options(app.settings.agent, connection, run_once=run_once)
    voice = Voice()
    async with app.desk(connection) as desk:
        made: Agent = make_agent(
            app, desk.api, options, _code(app, where), AgentListeners(voice.event, voice.output)
        )
        await made.run(stop)


def _code(app: App, where: Location | None) -> CodeProvider:
    if where is None:
        return NoCode()
    checkouts = Checkouts(app.settings.service.state_dir)
    return FollowedCode(app.source(where), checkouts, app.clock)
