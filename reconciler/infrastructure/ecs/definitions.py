"""Registered task definitions: one for each content, shared by runs, removed when long unused."""

import contextlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from reconciler.errors import ReconcilerError
from reconciler.infrastructure.ecs.client import Account
from reconciler.infrastructure.ecs.definition import (
    Definition,
    digest,
    prepare,
    same,
    settings_of,
)
from reconciler.infrastructure.ecs.failures import Refusal
from reconciler.model.launch import LaunchSpec
from reconciler.runtime.clock import Clock

OURS_TAG = "reconciler.content"
"""Tag of the definitions that agents of this program registered; its value is their content's digest."""
_KEEP = 48 * 3600.0
"""Seconds for which an unused definition is kept: a daily run must not register one each time."""
_EVERY = 3600.0


@dataclass(slots=True)
class Registered:
    """A task definition that ECS has.

    Attributes:
        account: where.
        arn: with its revision.
        definition: its content.
        ours: this program registered it.
        keep: a block that uses it wants it kept (`auto_deregister_task_definition: false`).
        used: monotonic seconds of its last use.
        users: tokens of the launches that use it.
    """

    account: Account
    arn: str
    definition: Mapping[str, Any] = field(repr=False)
    ours: bool
    keep: bool = False
    used: float = 0.0
    users: set[str] = field(default_factory=set)


class Definitions:
    """The definitions in use, by content.

    Prefect's own agent registers a definition for a run and deregisters it at the run's end, which
    takes it away from others' runs (facts). Here a run costs no registration unless its content is
    new, and what other agents registered is taken over, being the latest of its family.
    """

    def __init__(self, clock: Clock, image: str) -> None:
        self._clock = clock
        self._image = image
        self._known: dict[tuple[str, str], Registered] = {}
        self._read: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._locks: defaultdict[tuple[str, str], anyio.Lock] = defaultdict(anyio.Lock)

    async def resolve(self, account: Account, spec: LaunchSpec) -> Registered:
        """Return the definition that a launch needs; registered if nobody has yet.

        Raises:
            NotLaunchable: the settings contradict each other, or ECS refuses the definition.
            Transient: ECS does not answer.
        """
        settings = settings_of(spec)
        base = None
        if settings.task_definition_arn:
            base = await self.read(account, settings.task_definition_arn)
        wanted = prepare(spec, base, self._image, account.region)
        key = (account.key, digest(wanted))
        async with self._locks[key]:
            if key not in self._known:
                self._known[key] = await self._existing(account, wanted, base)
        found = self._known[key]
        found.users.add(spec.token)
        found.used = self._clock.monotonic()
        found.keep |= not settings.auto_deregister_task_definition
        return found

    async def read(self, account: Account, arn: str) -> Mapping[str, Any]:
        """Return a registered definition; a revision never changes, so it is asked for once."""
        key = (account.key, arn)
        if key in self._read:
            return self._read[key]
        answer = await account.read("ecs:describe_task_definition", taskDefinition=arn)
        definition: Mapping[str, Any] = answer["taskDefinition"]
        if arn.rpartition(":")[2].isdigit():
            self._read[key] = definition
        return definition

    def forget(self, arn: str) -> None:
        """Forget a definition that turned out to be gone: somebody deregistered it."""
        self._known = {key: one for key, one in self._known.items() if one.arn != arn}
        self._read = {key: one for key, one in self._read.items() if key[1] != arn}

    def release(self, token: str) -> None:
        """Say that a launch is over."""
        for one in self._known.values():
            if token in one.users:
                one.users.discard(token)
                one.used = self._clock.monotonic()

    async def keep_sweeping(self) -> None:
        """Sweep every hour, for as long as the agent lives."""
        while True:
            await self._clock.sleep(_EVERY)
            await self.sweep()

    async def sweep(self) -> None:
        """Forget what nobody used for long, and deregister it if it is ours to.

        A failure is let be: it costs nothing, and the next agent that uses it takes it over.
        """
        for arn in {one.arn for one in self._known.values()}:
            same_arn = [one for one in self._known.values() if one.arn == arn]
            if not all(self._idle(one) for one in same_arn):
                continue  # several credentials may use one definition
            self.forget(arn)
            if all(one.ours and not one.keep for one in same_arn):
                with contextlib.suppress(ReconcilerError):
                    account = same_arn[-1].account
                    await account.write("ecs:deregister_task_definition", taskDefinition=arn)

    def _idle(self, one: Registered) -> bool:
        return not one.users and self._clock.monotonic() - one.used >= _KEEP

    async def _existing(
        self, account: Account, wanted: Definition, base: Mapping[str, Any] | None
    ) -> Registered:
        if base is not None and base.get("status", "ACTIVE") == "ACTIVE" and same(base, wanted):
            return Registered(account, base["taskDefinitionArn"], base, ours=False)
        latest = await self._latest(account, wanted["family"])
        if latest is not None and same(latest[0], wanted):
            definition, ours = latest
            return Registered(account, definition["taskDefinitionArn"], definition, ours)
        marks = [*wanted.get("tags", ()), {"key": OURS_TAG, "value": digest(wanted)}]
        answer = await account.write("ecs:register_task_definition", **{**wanted, "tags": marks})
        definition = answer["taskDefinition"]
        return Registered(account, definition["taskDefinitionArn"], definition, ours=True)

    @staticmethod
    async def _latest(account: Account, family: str) -> tuple[Mapping[str, Any], bool] | None:
        """Return the latest active revision of a family, and whether we registered it."""
        try:
            answer = await account.read(
                "ecs:describe_task_definition", taskDefinition=family, include=["TAGS"]
            )
        except Refusal as error:
            if error.code in {"ClientException", "InvalidParameterException"}:
                return None  # no such family
            raise
        if answer["taskDefinition"].get("status", "ACTIVE") != "ACTIVE":
            return None
        ours = any(tag.get("key") == OURS_TAG for tag in answer.get("tags", ()))
        return answer["taskDefinition"], ours
