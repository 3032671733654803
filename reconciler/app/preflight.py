"""What would keep declared deployments from being launched, said before anything is (DESIGN 7.10).

What is found are warnings: whoever plans may sit at another machine than the agent.
"""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from pydantic import ValidationError

from reconciler.agent.spec import explain, with_overrides
from reconciler.api import blocks, runs
from reconciler.api.client import Api
from reconciler.app.agent import default_image, host_dir
from reconciler.app.wiring import App
from reconciler.blocks.registry import canonical_slug
from reconciler.errors import ReconcilerError
from reconciler.infrastructure import Launcher, Surroundings, launchers
from reconciler.infrastructure.base import NotLaunchable
from reconciler.model.deployment_fields import DEFAULT_POOL
from reconciler.model.desired import Declaration, DesiredState
from reconciler.model.keys import Key
from reconciler.model.problems import Problem, Severity
from reconciler.model.values import MASKED, Ref, Secret, UnknownRef, Value, contains_masked
from reconciler.runtime.clock import SystemClock

SECONDS = 10.0
"""How long one platform may take."""
_AT_ONCE = 8
_WORD = re.compile(r"[a-z_]+")
_PROCESS = "process"
_LOCAL_STORAGE = "local-file-system"


@dataclass(slots=True)
class _Case:
    """Settings that deployments share, and what is wrong with them.

    Attributes:
        launcher: of their type.
        settings: the block's data with overrides applied.
        users: the deployments, each with the declaration of its block.
        problems: what the launcher says.
    """

    launcher: Launcher
    settings: Any = field(repr=False)
    users: list[tuple[Declaration, Declaration | None]] = field(default_factory=list)
    problems: tuple[str, ...] = ()


async def preflight(
    app: App, api: Api, desired: DesiredState, only: Collection[Key] | None = None
) -> tuple[Problem, ...]:
    """Ask each launcher about the deployments that would use it.

    Deployments that are paused or suspended, or in a pool with workers of its own, are left out;
    so is everything where secrets were not read.

    Args:
        app: settings of the agent and the platforms.
        api: the server.
        desired: the tree.
        only: keys of deployments and blocks to look at; None means all.

    Returns:
        Warnings, each at the field that is to blame.
    """
    if not desired.secrets_read:
        return ()
    async with _launchers(app, api) as known:
        looked = [one for one in _deployments(app, desired) if _concerns(one, only)]
        found: list[Problem] = []
        cases: dict[str, _Case] = {}
        for deployment in looked:
            try:
                await _add(cases, known, api, desired, deployment)
            except ReconcilerError as error:
                found.append(_warning(deployment, None, error.message))
        await _ask_all(cases.values(), str(app.settings.connection.api_url or api.facts))
    for case in cases.values():
        found += _told(case)
    return tuple(sorted(set(found)))


@asynccontextmanager
async def _launchers(app: App, api: Api) -> AsyncIterator[dict[str, Launcher]]:
    settings = app.settings.agent
    made = launchers(
        Surroundings(
            state_dir=settings.state_dir,
            host_dir=host_dir(),
            inherited=dict,
            python=settings.python,
            clock=_Impatient(),
            images=default_image(api.facts, settings.image_python_version),
            platforms=app.settings.platforms,
        )
    )
    try:
        yield made
    finally:
        for launcher in made.values():
            await launcher.close()


class _Impatient(SystemClock):
    """A clock that does not wait: somebody sits there, and a second try at once is enough."""

    async def sleep(self, seconds: float) -> None:  # noqa: ARG002
        await anyio.lowlevel.checkpoint()


def _deployments(app: App, desired: DesiredState) -> list[Declaration]:
    pools = {None, DEFAULT_POOL, app.settings.agent.pool}
    return [
        one
        for key, one in desired.declarations.items()
        if key.kind == "deployment"
        and not one.options.suspend
        and not one.fields.get("paused")
        and one.fields.get("work_pool_name") in pools
    ]


def _concerns(deployment: Declaration, only: Collection[Key] | None) -> bool:
    infrastructure = deployment.fields.get("infrastructure")
    block = infrastructure.key if isinstance(infrastructure, Ref) else None
    return only is None or deployment.key in only or block in only


async def _add(
    cases: dict[str, _Case],
    known: Mapping[str, Launcher],
    api: Api,
    desired: DesiredState,
    deployment: Declaration,
) -> None:
    """Add a deployment to the case of its settings.

    Raises:
        NotLaunchable: they can't be used.
    """
    infrastructure = deployment.fields.get("infrastructure")
    slug, data, block = _PROCESS, {}, None
    if isinstance(infrastructure, Ref):
        slug = canonical_slug(infrastructure.key.parts[0])
        block = desired.declarations.get(infrastructure.key)
        data = await _plain(api, desired, infrastructure)
    elif infrastructure is not None:
        return  # an anonymous block: nobody but the server knows it
    launcher = known.get(slug)
    overrides = await _plain(api, desired, deployment.fields.get("job_variables") or {})
    if launcher is None or contains_masked(data) or contains_masked(overrides):
        return
    data = with_overrides(data, overrides)
    try:
        settings = launcher.settings.model_validate(data)
    except ValidationError as error:
        raise NotLaunchable(f"the {slug} block can't be used: {explain(error)}") from None
    text = json.dumps([slug, data], sort_keys=True, default=str)
    case = cases.setdefault(hashlib.sha256(text.encode()).hexdigest(), _Case(launcher, settings))
    case.users.append((deployment, block))


async def _plain(api: Api, desired: DesiredState, value: Value) -> Any:
    """Return a tree with its secrets in the open and its references filled in; never shown."""
    if isinstance(value, Secret):
        value = value.reveal()
    if isinstance(value, Ref):
        value = await _target(api, desired, value.key)
    if isinstance(value, Mapping):
        return {name: await _plain(api, desired, inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [await _plain(api, desired, inner) for inner in value]
    return MASKED if isinstance(value, UnknownRef) else value


async def _target(api: Api, desired: DesiredState, key: Key) -> Value:
    """Return a block's data as declared, else as the server has it."""
    there = desired.declarations.get(key)
    if there is not None:
        return there.fields.get("data") or {}
    document = await blocks.find_document(api, *key.parts, secrets=False)
    if document is None:
        return MASKED  # the plan says that it is missing
    data: Value = (await runs.read_block(api, document.id))["data"]
    return data


async def _ask_all(cases: Collection[_Case], api_url: str) -> None:
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def ask(case: _Case) -> None:
        slug = case.launcher.slug
        case.problems = (f"{slug}: the platform did not answer within {SECONDS:g} s",)
        async with limiter:
            with anyio.move_on_after(SECONDS):
                try:
                    case.problems = await case.launcher.preflight(case.settings, api_url)
                except ReconcilerError as error:
                    case.problems = (error.message,)

    async with anyio.create_task_group() as group:
        for case in cases:
            group.start_soon(ask, case)


def _told(case: _Case) -> list[Problem]:
    """Say what is wrong once, however many deployments share it."""
    deployment, block = case.users[0]
    others = len(case.users) - 1
    hint = f"and {others} more deployment{'s' * (others > 1)} with it" if others else None
    found = [_warning(deployment, block, message, hint) for message in case.problems]
    if not case.launcher.local:
        found += [
            _warning(user, None, message, where=where)
            for user, _ in case.users
            for where, message in _code_out_of_reach(user, case.launcher.slug)
        ]
    return found


def _code_out_of_reach(deployment: Declaration, slug: str) -> list[tuple[str, str]]:
    """Say where a flow's code is that infrastructure elsewhere can't see."""
    fields = deployment.fields
    storage = fields.get("storage")
    if isinstance(storage, Ref) and storage.key.parts[0] == _LOCAL_STORAGE:
        text = f"storage {storage.key.name} is a folder of one machine: a {slug} can't see it"
        return [("storage", text)]
    entrypoint = str(fields.get("entrypoint") or "")
    in_file = entrypoint.partition(":")[0].endswith(".py")
    path = str(fields.get("path") or "")
    in_image = bool(path) and "$STORAGE_BASE_PATH" not in path  # that is a checkout's place
    if storage or fields.get("pull_steps") or in_image or not in_file:
        return []
    text = (
        f"a {slug} has no checkout of this repository: add pull_steps or a storage block, "
        "or set path to where its image has the code"
    )
    return [("entrypoint", text)]


def _warning(
    deployment: Declaration,
    block: Declaration | None,
    message: str,
    hint: str | None = None,
    where: str = "infrastructure",
) -> Problem:
    field = None if block is None else _field_in(message, block)
    place = deployment.at(where) if block is None or field is None else block.at(f"data.{field}")
    return Problem(place, f"pre-flight: {message}", hint, Severity.WARNING)


def _field_in(message: str, block: Declaration) -> str | None:
    """Return the field of a block that a message is about: its first word, else one it mentions.

    Among the words in the middle only those count that are nothing but a field's name.
    """
    first, *others = _WORD.findall(message) or [""]
    sure = (word for word in others if "_" in word or word == "credentials")
    return next((word for word in (first, *sure) if f"data.{word}" in block.places), None)
