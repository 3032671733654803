"""The way to Azure Container Instances: Azure's own clients in threads, and what their errors mean.

Answers are taken as the JSON of the resource manager's API (2023-05-01).
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
from anyio import to_thread

from reconciler.blocks.azure import (
    AzureContainerInstanceCredentialsSettings,
    AzureContainerInstanceJobSettings,
)
from reconciler.errors import Overloaded, Transient, Unreachable
from reconciler.infrastructure.base import NotLaunchable, NotStarted
from reconciler.runtime.clock import Clock
from reconciler.settings import PlatformSettings

Json = dict[str, Any]
T = TypeVar("T")

MISSING = "Azure container instances need the extra: pip install 'prefect-reconciler[azure]'"

_MANAGEMENT = "https://management.azure.com"
_CONNECT_SECONDS, _WAIT_SECONDS = 10, 30
_PAUSES = (0.2, 0.5, 1.0, 2.0, 3.0, 4.0)
_THREADS = 16
_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _CHANGED = 401, 403, 404, 409, 412
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_WITHHELD = ("InaccessibleImage", "Quota", "NotAvailable", "Capacity", "RegistryErrorResponse")
"""Parts of the codes of refusals that no declaration can mend."""
_CREDENTIALS = "check aci_credentials: the secret may have expired"


class Missing(NotStarted):
    """There is no such container group, or no such resource group."""


class Taken(NotStarted):
    """There is a container group of that name."""


class Denied(NotStarted):
    """Azure does not take our credentials, or they lack a permission."""


@dataclass(slots=True)
class _Clients:
    groups: Any
    containers: Any
    resources: Any


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
        self._clients: _Clients | None = None
        self._connecting = anyio.Lock()
        self._limiter: anyio.CapacityLimiter | None = None
        self._locations: dict[str, str] = {}
        self.key = key_of(settings)

    async def location(self, resource_group: str) -> str:
        """Return where a resource group is, `westeurope`; asked once.

        Raises:
            Missing: there is none.
            Transient, NotStarted, NotLaunchable: as `_meaning` says.
        """
        if resource_group not in self._locations:
            found = await self._ask(lambda at: at.resources.resource_groups.get(resource_group))
            self._locations[resource_group] = str(found.location)
        return self._locations[resource_group]

    async def groups(self, resource_group: str) -> list[Json]:
        """List the container groups of a resource group; most of Azure leaves their state out.

        Raises:
            Transient, NotStarted, NotLaunchable: as `_meaning` says.
        """
        return await self._ask(
            lambda at: [_raw(one) for one in at.groups.list_by_resource_group(resource_group)]
        )

    async def group(self, resource_group: str, name: str) -> Json:
        """Read a container group with its state.

        Raises:
            Missing: there is none.
            Transient, NotStarted, NotLaunchable: as `_meaning` says.
        """
        return await self._ask(lambda at: at.groups.get(resource_group, name, cls=_json))

    async def make(self, resource_group: str, name: str, body: Json) -> None:
        """Make a container group, which starts it; asked once only.

        Raises:
            Taken: there is one of that name.
            NotLaunchable, NotStarted: Azure refuses.
            Transient: nobody knows whether it was made.
        """

        def call(at: _Clients) -> None:
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
            Transient, NotStarted, NotLaunchable: as `_meaning` says.
        """
        await self._ask(lambda at: at.groups.stop(resource_group, name))

    async def delete(self, resource_group: str, name: str) -> None:
        """Delete a container group; it may take a while until it is gone.

        Raises:
            Missing: it is gone already.
            Transient, NotStarted, NotLaunchable: as `_meaning` says.
        """
        await self._ask(lambda at: at.groups.begin_delete(resource_group, name, polling=False))

    async def log(self, resource_group: str, name: str, lines: int | None) -> tuple[str, ...]:
        """Return what a group's container wrote, the last lines or all that is kept.

        Raises:
            Missing: it is gone.
            Transient, NotStarted, NotLaunchable: as `_meaning` says.
        """
        told = await self._ask(
            lambda at: at.containers.list_logs(resource_group, name, name, tail=lines)
        )
        return tuple((told.content or "").splitlines())

    async def _ask(self, call: Callable[[_Clients], T]) -> T:
        """Ask something that may be asked again, in a thread."""
        for pause in (*_PAUSES, None):
            try:
                return await self._once(call)
            except Transient as error:
                if pause is None:
                    raise
                await self._clock.sleep(min(error.retry_after or pause, 10.0))
        raise AssertionError  # the last round returns or raises

    async def _once(self, call: Callable[[_Clients], T]) -> T:
        async with self._connecting:
            if self._limiter is None:
                self._limiter = anyio.CapacityLimiter(_THREADS)
            if self._clients is None:
                self._clients = await to_thread.run_sync(
                    _connect, self._credentials, self._id, self._platforms, limiter=self._limiter
                )
        clients = self._clients

        def guarded() -> T:
            with _speaking(self._id):
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


def _connect(
    block: AzureContainerInstanceCredentialsSettings, subscription: str, platforms: PlatformSettings
) -> _Clients:
    """Make the clients.

    Raises:
        NotLaunchable: the extra is missing, or the credentials can't be used.
    """
    try:
        from azure.mgmt.containerinstance import (  # noqa: PLC0415 - an extra
            ContainerInstanceManagementClient,
        )
        from azure.mgmt.resource.resources import (  # noqa: PLC0415 - an extra
            ResourceManagementClient,
        )
    except ImportError:
        raise NotLaunchable(MISSING) from None
    endpoint = (platforms.azure_endpoint or _MANAGEMENT).rstrip("/")
    options: dict[str, Any] = {
        "base_url": endpoint,
        "credential_scopes": [f"{endpoint}/.default"],
        "retry_total": 0,  # ours are cancelled with the run, and honour the clock of tests
        "connection_timeout": _CONNECT_SECONDS,
        "read_timeout": _WAIT_SECONDS,
        **_trust(platforms),
    }
    known = _credential(block, platforms)
    instances = ContainerInstanceManagementClient(known, subscription, **options)
    return _Clients(
        groups=instances.container_groups,
        containers=instances.containers,
        resources=ResourceManagementClient(known, subscription, **options),
    )


def _credential(
    block: AzureContainerInstanceCredentialsSettings, platforms: PlatformSettings
) -> Any:
    from azure.identity import (  # noqa: PLC0415 - an extra
        ClientSecretCredential,
        DefaultAzureCredential,
    )

    options: dict[str, Any] = {"retry_total": 0, **_trust(platforms)}
    if platforms.azure_authority is not None:
        # The address is ours; Microsoft's directory of clouds may not know it.
        options |= {"authority": platforms.azure_authority, "disable_instance_discovery": True}
    options |= block.credential_kwargs
    tenant, client, secret = block.tenant_id, block.client_id, block.client_secret
    try:
        if secret is None:
            return DefaultAzureCredential(**options)
        if tenant is None or client is None:
            raise NotLaunchable(
                "aci_credentials: client_secret needs tenant_id and client_id beside it"
            )
        return ClientSecretCredential(tenant, client, secret.get_secret_value(), **options)
    except (TypeError, ValueError) as error:
        text = f"aci_credentials can't be used ({type(error).__name__}): check credential_kwargs"
        raise NotLaunchable(text) from None


def _trust(platforms: PlatformSettings) -> dict[str, str]:
    return {} if platforms.ca_file is None else {"connection_verify": str(platforms.ca_file)}


def _json(response: Any, _deserialized: Any, _headers: Any) -> Json:
    found: Json = json.loads(response.http_response.text())
    return found


def _raw(model: Any) -> Json:
    found: Json = model.serialize(keep_readonly=True)
    return found


@contextmanager
def _speaking(subscription: str) -> Iterator[None]:
    """Say what an error of the clients means. The subscription's id is a secret of the block.

    Raises:
        Unreachable: Azure does not answer.
        Transient, NotStarted, NotLaunchable: it refuses (`_meaning`).
    """
    from azure.core.exceptions import (  # noqa: PLC0415 - an extra
        AzureError,
        ClientAuthenticationError,
        HttpResponseError,
        ServiceRequestError,
        ServiceResponseError,
    )

    try:
        yield
    except ClientAuthenticationError as error:
        words = _first_line(str(error.message)).replace(subscription, "***")
        raise Denied(f"Azure does not take our credentials: {words}; {_CREDENTIALS}") from None
    except HttpResponseError as error:
        code, words = _told(error)
        headers: Any = getattr(error.response, "headers", {})
        words = words.replace(subscription, "***")
        raise _meaning(int(error.status_code or 0), code, words, headers) from None
    except (ServiceRequestError, ServiceResponseError) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            text = "Azure's certificate is not trusted: name its authority by RECONCILER_PLATFORM_CA_FILE"
            raise NotStarted(text) from None
        raise Unreachable(f"Azure does not answer: {type(error).__name__}") from None
    except AzureError as error:
        raise Unreachable(f"Azure does not answer: {type(error).__name__}") from None


def _told(error: Any) -> tuple[str, str]:
    """Return code and message of a refusal."""
    inner = getattr(error, "error", None)
    code = str(getattr(inner, "code", "") or "")
    return code, str(getattr(inner, "message", "") or error.reason or "refused")


def _meaning(status: int, code: str, words: str, headers: Mapping[str, str]) -> Exception:
    text = f"{' '.join(words.split())} ({code or f'HTTP {status}'})"
    if status in _BUSY:
        wait = headers.get("Retry-After", "")
        return Overloaded(
            f"Azure is busy: {text}", retry_after=float(wait) if wait.isdigit() else None
        )
    if any(part in code for part in _WITHHELD):
        return NotStarted(f"Azure refuses: {text}")
    if status == _CONFLICT:
        return Overloaded(f"the container group is being changed: {text}")
    if status in {_UNAUTHORISED, _FORBIDDEN}:
        return Denied(f"Azure refuses: {text}")
    kind = {_NOT_FOUND: Missing, _CHANGED: Taken}.get(status, NotLaunchable)
    return kind(f"Azure refuses: {text}")


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason is given"
