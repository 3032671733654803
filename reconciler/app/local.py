"""The local one-command version: server, follower and agent in one process."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import anyio
import anyio.abc

from reconciler.agent.loop import Agent
from reconciler.agent.observer import AgentEvent
from reconciler.agent.options import AgentOptions, connection_environment
from reconciler.api.client import Api
from reconciler.api.embedded import EmbeddedServer, embedded_server
from reconciler.app.code import AppliedCode
from reconciler.app.wiring import App
from reconciler.controller.follow import Follower, Reconciled
from reconciler.infrastructure import Surroundings, launchers
from reconciler.model.desired import DesiredState
from reconciler.model.wishes import Location, Wishes
from reconciler.settings import AgentSettings, ConnectionSettings, flow_run_environment
from reconciler.source.changes import StableSource, changes
from reconciler.source.checkouts import Checkouts

DRIFT_SECONDS = 30.0
"""How often a local run looks for drift."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told what happens."""

    reconciled: Callable[[Reconciled], None]
    agent: Callable[[AgentEvent], None]
    output: Callable[[str, str], None]


def agent_of(
    app: App,
    api: Api,
    connection: ConnectionSettings,
    settings: AgentSettings,
    options: AgentOptions,
    code: AppliedCode,
    listeners: Listeners,
) -> Agent:
    """Make an agent with a launcher of each type."""
    surroundings = Surroundings(
        state_dir=settings.state_dir,
        host_dir=options.host_dir,
        inherited=flow_run_environment(app.environ),
        python=settings.python,
        clock=app.clock,
        output=listeners.output,
    )
    environment = connection_environment(connection)
    return Agent(
        api,
        replace(options, environment=environment),
        launchers(surroundings),
        code=code,
        clock=app.clock,
        observe=listeners.agent,
    )
