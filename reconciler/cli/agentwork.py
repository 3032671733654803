"""What `reconciler agent` does."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio

from reconciler.agent.code import CodeProvider, NoCode
from reconciler.app import App
from reconciler.app.agent import (
    AgentListeners,
    agent_options,
    make_agent,
    policy_of,
    secret_prefixes,
)
from reconciler.app.code import FollowedCode
from reconciler.cli.begin import begin
from reconciler.cli.upwork import Voice, stop_on_signal
from reconciler.model.policy import Policy
from reconciler.model.wishes import Location, Wishes
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
    settings, connection = app.settings.agent, app.settings.connection
    voice = Voice()
    listeners = AgentListeners(voice.event, voice.output)
    async with app.desk(connection) as desk:
        code, policy = await _code(app, where)
        declared = None if policy is None else policy.agent.queues
        options = agent_options(
            settings,
            connection,
            None if declared is None else lambda: declared,
            policy=policy,
            run_once=run_once,
        )
        made = make_agent(app, desk.api, options, code, listeners, lambda: secret_prefixes(policy))
        await made.run(stop)


async def _code(app: App, where: Location | None) -> tuple[CodeProvider, Policy | None]:
    """Return what serves flow code, and the policy that comes with it."""
    if where is None:
        return NoCode(), None
    source = app.source(where)
    checkouts = Checkouts(app.settings.service.state_dir)
    policy = await policy_of(source, await app.load_options(where, Wishes()))
    return FollowedCode(source, checkouts, app.clock), policy
