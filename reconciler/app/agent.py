"""Wiring of the agent half."""

import os
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from reconciler.agent.code import CodeProvider
from reconciler.agent.loop import Agent
from reconciler.agent.observer import AgentEvent
from reconciler.agent.options import AgentOptions, connection_environment
from reconciler.api.client import Api
from reconciler.app.wiring import App
from reconciler.controller import pipeline
from reconciler.errors import InvalidManifests, SourceError, SourceUnavailable, UsageError
from reconciler.infrastructure import Surroundings, launchers
from reconciler.manifests.load import LoadOptions
from reconciler.model.desired import DesiredState
from reconciler.model.policy import Policy
from reconciler.model.server import ServerFacts
from reconciler.settings import AgentSettings, ConnectionSettings, flow_run_environment
from reconciler.source.base import Source

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class AgentListeners:
    """Who is told what the agent does.

    Attributes:
        event: each thing that happens.
        output: each line that a flow run with `stream_output` writes: (flow run id, line).
    """

    event: Callable[[AgentEvent], None]
    output: Callable[[str, str], None]


def agent_options(
    settings: AgentSettings,
    connection: ConnectionSettings,
    declared: Callable[[], tuple[str, ...]] | None = None,
    *,
    policy: Policy | None = None,
    only: Callable[[], Collection[str]] | None = None,
    run_once: bool = False,
) -> AgentOptions:
    """Translate settings into the agent's options.

    Args:
        settings: of the agent; they win over the policy.
        connection: to the API, for flow runs.
        declared: gives the queues that the tree declares.
        policy: of the tree that the agent serves, None without one.
        only: gives the runs to look after; None means all.
        run_once: take the runs of one look only.
    """
    limit = None if policy is None else policy.agent.limit
    return AgentOptions(
        name=settings.name,
        host_dir=host_dir(),
        pool=settings.pool,
        queues=settings.queues,
        match=settings.match,
        declared=declared,
        only=only,
        limit=limit if settings.limit is None else settings.limit,
        poll_seconds=settings.poll_seconds,
        prefetch_seconds=settings.prefetch_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        grace_seconds=settings.grace_seconds,
        lost_after_seconds=settings.lost_after_seconds,
        run_once=run_once,
        environment=connection_environment(connection),
    )


def make_agent(
    app: App,
    api: Api,
    options: AgentOptions,
    code: CodeProvider,
    listeners: AgentListeners,
    withheld: Callable[[], Iterable[str]] = tuple,
) -> Agent:
    """Make an agent with a launcher of each infrastructure type.

    Args:
        app: settings and environment.
        api: the server.
        options: from `agent_options`.
        code: serves flow code.
        listeners: told of everything.
        withheld: gives, at each launch, the prefixes of the variables that the policy's secret
            providers read; no flow run inherits them.
    """
    settings = app.settings.agent
    surroundings = Surroundings(
        state_dir=settings.state_dir,
        host_dir=options.host_dir,
        inherited=lambda: flow_run_environment(app.environ, withheld()),
        python=settings.python,
        warm=settings.warm_start,
        ahead=None if options.run_once else options.environment,
        clock=app.clock,
        output=listeners.output,
        images=default_image(api.facts, settings.image_python_version),
        platforms=app.settings.platforms,
    )
    return Agent(
        api,
        options,
        launchers(surroundings),
        code=code,
        clock=app.clock,
        observe=listeners.event,
    )


def default_image(server: ServerFacts, python: str) -> str:
    """Return the image of flow runs in containers whose block names none (DESIGN 7.9).

    Args:
        server: whose Prefect version the image has.
        python: version of the Python in it, `3.11`.
    """
    return f"prefecthq/prefect:{server.version}-python{python}"


def host_dir(parent: Path | None = None) -> Path:
    """Return the folder that all agents of this host and user share until the next boot.

    What lies in it is believed: process ids that are killed, folders that are removed. Everybody
    may make folders where it stands, so it must be ours and nobody else's.

    Args:
        parent: where it stands; None for the system's folder of temporary files.

    Raises:
        UsageError: somebody else made it first, or may write to it.
    """
    folder = (parent or Path(tempfile.gettempdir())) / f"reconciler-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise _unusable(folder, error.strerror or str(error)) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise _unusable(folder, "somebody else made it")
    if stat.S_IMODE(found.st_mode) & _OTHERS_WRITE:
        raise _unusable(folder, "others may write to it")
    return folder


def _unusable(folder: Path, why: str) -> UsageError:
    return UsageError(
        f"the folder {folder}, which the agents of this host share, can't be used: {why}",
        hint="remove it, or set TMPDIR to a folder of your own for all agents of this host",
    )


async def policy_of(source: Source, options: LoadOptions) -> Policy | None:
    """Return a tree's policy, None while it can't be read."""
    try:
        return pipeline.read_policy_only(await source.fetch(), options).policy
    except (InvalidManifests, SourceError, SourceUnavailable):
        return None


def secret_prefixes(policy: Policy | None) -> tuple[str, ...]:
    """Return the prefixes of variables that hold secrets by a policy."""
    return () if policy is None else tuple(one.env for one in policy.secrets if one.env)


def following_queues(
    desired: Callable[[], DesiredState | None], pool: str
) -> Callable[[], tuple[str, ...]]:
    """Return what tells the declared queues of the tree that is in force: each poll asks for them."""
    last: DesiredState | None = None
    queues: tuple[str, ...] = ()

    def now() -> tuple[str, ...]:
        nonlocal last, queues
        found = desired()
        if found is not last:
            last, queues = found, declared_queues(found, pool)
        return queues

    return now


def declared_queues(desired: DesiredState | None, pool: str) -> tuple[str, ...]:
    """Return the work queues of a pool that a tree's deployments name (DESIGN 7.1)."""
    if desired is None:
        return ()
    if desired.policy.agent.queues is not None:
        return desired.policy.agent.queues
    found = {
        queue
        for key, declaration in desired.declarations.items()
        if key.kind == "deployment"
        and declaration.fields.get("work_pool_name") in (None, pool)
        and isinstance(queue := declaration.fields.get("work_queue_name"), str)
    }
    return tuple(sorted(found))
