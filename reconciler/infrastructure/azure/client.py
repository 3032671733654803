"""The way to Azure Container Instances: Azure's own clients in threads, and what their errors mean.

Answers are taken as the JSON of the resource manager's API (2023-05-01).
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
from anyio import to_thread

from reconciler.blocks.azure import (
    AzureContainerInstanceJobSettings,
)
from reconciler.errors import Transient
from reconciler.infrastructure.azure.connection import Clients, connect
from reconciler.infrastructure.azure.failures import speaking
from reconciler.runtime.clock import Clock
from reconciler.settings import PlatformSettings

Json = dict[str, Any]
T = TypeVar("T")


_PAUSES = (0.2, 0.5, 1.0, 2.0, 3.0, 4.0)
_THREADS = 16


class Subscription:
    """One subscription through one set of credentials; connected when it is first asked.

    Attributes:
        key: tells it from others; no secret can be read from it.
    """

    def __init__(
        self,
        settings: AzureContainerInstanceJobSettings,
        platforms: PlatformSettings,
        clock: Clock,
    ) -> None:
        self._credentials = settings.aci_credentials
        self._id = settings.subscription_id.get_secret_value()
        self._platforms = platforms
        self._clock = clock
        self._clients: Clients | None = None
        self._connecting = anyio.Lock()
        self._limiter: anyio.CapacityLimiter | None = None
        self._locations: dict[str, str] = {}
        self.key = key_of(settings)

    async def location(self, resource_group: str) -> str:
        """Return where a resource group is, `westeurope`; asked once.

        Raises:
            Missing: there is none.
            Transient, NotStarted, NotLaunchable: as `failures.meaning` says.
        """
        if resource_group not in self._locations:
            found = await self._ask(lambda at: at.resources.resource_groups.get(resource_group))
            self._locations[resource_group] = str(found.location)
        return self._locations[resource_group]

    async def groups(self, resource_group: str) -> list[Json]:
        """List the container groups of a resource group; most of Azure leaves their state out.

        Raises:
            Transient, NotStarted, NotLaunchable: as `failures.meaning` says.
        """
        return await self._ask(
            lambda at: [_raw(one) for one in at.groups.list_by_resource_group(resource_group)]
        )

    async def group(self, resource_group: str, name: str) -> Json:
        """Read a container group with its state.

        Raises:
            Missing: there is none.
            Transient, NotStarted, NotLaunchable: as `failures.meaning` says.
        """
        return await self._ask(lambda at: at.groups.get(resource_group, name, cls=_json))

    async def make(self, resource_group: str, name: str, body: Json) -> None:
        """Make a container group, which starts it; asked once only.

        Raises:
            Taken: there is one of that name.
            NotLaunchable, NotStarted: Azure refuses.
            Transient: nobody knows whether it was made.
        """

        def call(at: Clients) -> None:
            at.groups.begin_create_or_update(
                resource_group,
                name,
                json.dumps(body).encode(),
                headers={"If-None-Match": "*"},
                polling=False,
            )

        await self._once(call)

    async def stop(self, resource_group: str, name: str) -> None:
        """Stop the containers of a group.

        Raises:
            Missing: it is gone.
            Transient, NotStarted, NotLaunchable: as `failures.meaning` says.
        """
        await self._ask(lambda at: at.groups.stop(resource_group, name))

    async def delete(self, resource_group: str, name: str) -> None:
        """Delete a container group; it may take a while until it is gone.

        Raises:
            Missing: it is gone already.
            Transient, NotStarted, NotLaunchable: as `failures.meaning` says.
        """
        await self._ask(lambda at: at.groups.begin_delete(resource_group, name, polling=False))

    async def log(self, resource_group: str, name: str, lines: int | None) -> tuple[str, ...]:
        """Return what a group's container wrote, the last lines or all that is kept.

        Raises:
            Missing: it is gone.
            Transient, NotStarted, NotLaunchable: as `failures.meaning` says.
        """
        told = await self._ask(
            lambda at: at.containers.list_logs(resource_group, name, name, tail=lines)
        )
        return tuple((told.content or "").splitlines())

    async def _ask(self, call: Callable[[Clients], T]) -> T:
        """Ask something that may be asked again, in a thread."""
        for pause in (*_PAUSES, None):
            try:
                return await self._once(call)
            except Transient as error:
                if pause is None:
                    raise
                await self._clock.sleep(min(error.retry_after or pause, 10.0))
        raise AssertionError  # the last round returns or raises

    async def _once(self, call: Callable[[Clients], T]) -> T:
        async with self._connecting:
            if self._limiter is None:
                self._limiter = anyio.CapacityLimiter(_THREADS)
            if self._clients is None:
                self._clients = await to_thread.run_sync(
                    connect, self._credentials, self._id, self._platforms, limiter=self._limiter
                )
        clients = self._clients

        def guarded() -> T:
            with speaking(self._id):
                return call(clients)

        return await to_thread.run_sync(guarded, limiter=self._limiter, abandon_on_cancel=True)


class Subscriptions:
    """One `Subscription` for each set of credentials in use."""

    def __init__(self, platforms: PlatformSettings, clock: Clock) -> None:
        self._platforms = platforms
        self._clock = clock
        self._known: dict[str, Subscription] = {}

    def of(self, settings: AzureContainerInstanceJobSettings) -> Subscription:
        """Return the subscription of a block."""
        key = key_of(settings)
        if key not in self._known:
            self._known[key] = Subscription(settings, self._platforms, self._clock)
        return self._known[key]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container group is."""

    subscription: Subscription
    resource_group: str
    name: str

    async def group(self) -> Json:
        """Read it, as `Subscription.group`."""
        return await self.subscription.group(self.resource_group, self.name)

    async def stop(self) -> None:
        """Stop it, as `Subscription.stop`."""
        await self.subscription.stop(self.resource_group, self.name)

    async def delete(self) -> None:
        """Delete it, as `Subscription.delete`."""
        await self.subscription.delete(self.resource_group, self.name)

    async def log(self, lines: int | None = None) -> tuple[str, ...]:
        """Read its log, as `Subscription.log`."""
        return await self.subscription.log(self.resource_group, self.name, lines)


def key_of(settings: AzureContainerInstanceJobSettings) -> str:
    """Return what tells subscription and credentials from others; no secret can be read from it."""
    block = settings.aci_credentials
    secret = block.client_secret
    parts = [
        settings.subscription_id.get_secret_value(),
        block.model_dump(mode="json", exclude={"client_secret"}),
        None if secret is None else secret.get_secret_value(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _json(response: Any, _deserialized: Any, _headers: Any) -> Json:
    found: Json = json.loads(response.http_response.text())
    return found


def _raw(model: Any) -> Json:
    found: Json = model.serialize(keep_readonly=True)
    return found
