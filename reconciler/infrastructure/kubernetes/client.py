"""The way to a Kubernetes cluster: kubernetes-asyncio's client, and what its errors mean for a launch.

Answers are taken as the API's JSON. The client's typed models would cost ten times the time of each
event, and drop the fields of newer clusters.
"""

import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from reconciler.blocks.kubernetes import KubernetesClusterConfigSettings
from reconciler.errors import Overloaded, Transient, Unreachable
from reconciler.infrastructure.base import NotLaunchable, NotStarted
from reconciler.runtime.clock import Clock
from reconciler.settings import PlatformSettings

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiClient, Configuration

Json = dict[str, Any]
Query = Sequence[tuple[str, str]]
T = TypeVar("T")

MISSING = "Kubernetes jobs need the extra: pip install 'prefect-reconciler[kubernetes]'"
MERGE_PATCH = "application/merge-patch+json"

_WAIT_SECONDS = 30.0
_CONNECT_SECONDS = 10.0
_NO_FILE = b"failed to try resolving symlinks in path"
_PAUSES = (0.2, 0.5, 1.0, 2.0, 3.0, 4.0)
_LONGEST_PAUSE = 10.0
_PAUSES_IF_EMPTY = (0.2, 0.5, 1.0)
_FIRST_ERROR = 300
_UNAUTHORISED, _TIMED_OUT, _LIMITED, _SERVER_ERROR = 401, 408, 429, 500
_NO_LIMIT = 0
_UID_HELP = "allow `get` of the namespace kube-system, or set RECONCILER_KUBERNETES_CLUSTER_UID"


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    query: Query = ()
    body: Json | None = field(default=None, repr=False)
    content: str = "application/json"


class Missing(NotStarted):
    """The cluster has no such object."""


class Taken(NotStarted):
    """The cluster has another one of that name, or it was changed meanwhile."""


class Denied(NotStarted):
    """The cluster does not know our credentials, or they lack a permission."""


class Stale(Transient):
    """A stream can't go on from where it was: list anew (410)."""


class Cluster:
    """One cluster, through one set of credentials; connected when it is first asked.

    Attributes:
        key: tells it from others; no secret can be read from it.
    """

    def __init__(
        self,
        config: KubernetesClusterConfigSettings | None,
        platforms: PlatformSettings,
        clock: Clock,
    ) -> None:
        self._config = config
        self._platforms = platforms
        self._clock = clock
        self._client: ApiClient | None = None
        self._connecting = anyio.Lock()
        self._uid = None if config is not None else platforms.kubernetes_cluster_uid
        self.key = key_of(config)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Query = (),
        content: str = "application/json",
    ) -> Any:
        """Ask something that may be asked again; do so where the API is busy or away for a moment.

        Creates may be repeated too: their objects have names.

        Raises:
            Transient: it still is.
            NotStarted, NotLaunchable: it refuses (`_meaning`).
        """
        return await self._patiently(_Request(method, path, query, body, content), _parsed)

    async def text(self, path: str, query: Query = (), *, ended: bool = False) -> str:
        """Read a log, as patiently as `ask`; "" where the node has none.

        A node that has not linked the file yet says so in place of it, with a 200 (tried on 1.20).

        Args:
            path: of the API.
            query: of the request.
            ended: its pod has; then an empty log is looked at again for 1.7 s. (The end of a Job was
                once told before its only line could be read: 1.20, on a machine at its limit.)

        Raises:
            Transient, NotStarted, NotLaunchable: as `ask`.
        """
        unlinked, empty = iter(_PAUSES), iter(_PAUSES_IF_EMPTY if ended else ())
        while True:
            data = await self._patiently(_Request("GET", path, query), bytes)
            if data and not data.startswith(_NO_FILE):
                return data.decode(errors="replace")
            pause = next(unlinked if data else empty, None)
            if pause is None:
                return ""
            await self._clock.sleep(pause)

    async def _patiently(self, request: _Request, read: Callable[[bytes], T]) -> T:
        for pause in (*_PAUSES, None):
            try:
                async with self._answer(request) as answer:
                    data: bytes = await answer.read()
                return read(data)
            except Stale:
                raise
            except Transient as error:
                if pause is None:
                    raise
                await self._clock.sleep(min(error.retry_after or pause, _LONGEST_PAUSE))
        raise AssertionError  # the last round returns or raises

    async def stream(
        self, path: str, query: Query = (), *, silent: float | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield the lines of an answer as they come.

        Args:
            path: of the API.
            query: of the request.
            silent: seconds without a byte after which the connection counts as dead.

        Raises:
            Stale: the API does not know the place to resume from any more.
            Transient, NotStarted, NotLaunchable: as `ask`, without repetition.
        """
        async with self._answer(_Request("GET", path, query), silent) as answer:
            async for line in answer.content:
                yield line

    async def uid(self) -> str:
        """Return the identity of the cluster, as Prefect has it: the uid of kube-system.

        Raises:
            NotStarted: it may not be read, and none is set.
            Transient: the cluster does not answer.
        """
        if self._uid is None:
            try:
                found = await self.ask("GET", "/api/v1/namespaces/kube-system")
            except Denied as error:
                if self._platforms.kubernetes_cluster_uid is None:
                    raise Denied(f"{error.message}; {_UID_HELP}") from None
                self._uid = self._platforms.kubernetes_cluster_uid
            else:
                self._uid = str(found["metadata"]["uid"])
        return self._uid

    def is_known_as(self, uid: str) -> bool:
        """Tell whether it has said already that this is its identity."""
        return self._uid == uid

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    @asynccontextmanager
    async def _answer(self, request: _Request, silent: float | None = None) -> AsyncIterator[Any]:
        import aiohttp  # noqa: PLC0415 - comes with the extra

        total = _WAIT_SECONDS if silent is None else None
        limits = aiohttp.ClientTimeout(total=total, connect=_CONNECT_SECONDS, sock_read=silent)
        await self._connected()  # says so itself where that can't be
        with _speaking():
            answer = await self._sent(request, limits)
            try:
                yield answer
            finally:
                answer.close()

    async def _sent(self, request: _Request, limits: Any) -> Any:
        for renewed in (False, True):
            client = await self._connected()
            answer: Any = await client.call_api(
                request.path,
                request.method,
                query_params=list(request.query),
                header_params={"Content-Type": request.content, "Accept": "application/json"},
                body=request.body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=limits,
            )
            if answer.status < _FIRST_ERROR:
                return answer
            words = await answer.read()
            answer.close()
            if answer.status != _UNAUTHORISED or renewed:
                raise _meaning(answer.status, words, answer.headers.get("Retry-After"))
            # Tokens of plug-ins and files are renewed outside of us: read the configuration anew.
            await self.close()
        raise AssertionError  # the second round returns or raises

    async def _connected(self) -> "ApiClient":
        async with self._connecting:
            if self._client is None:
                self._client = await self._connect()
            return self._client

    async def _connect(self) -> "ApiClient":
        """Read the configuration.

        Raises:
            NotLaunchable: the extra is missing, or the configuration can't be used.
        """
        try:
            from kubernetes_asyncio.client import ApiClient  # noqa: PLC0415 - an extra
            from kubernetes_asyncio.config import ConfigException  # noqa: PLC0415 - an extra
        except ImportError:
            raise NotLaunchable(MISSING) from None
        where = "cluster_config" if self._config is not None else "the kubeconfig"
        try:
            configuration = await self._configuration()
            configuration.connection_pool_maxsize = _NO_LIMIT  # each followed log holds one
            if configuration.ssl_ca_cert is None and self._platforms.ca_file is not None:
                configuration.ssl_ca_cert = str(self._platforms.ca_file)
            return ApiClient(configuration)
        except ConfigException as error:
            raise NotLaunchable(f"{where} can't be used: {error}") from None
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            # What the loader stumbles over may be a key: its kind is told, its text is not.
            raise NotLaunchable(f"{where} can't be used: {type(error).__name__}") from None

    async def _configuration(self) -> "Configuration":
        from kubernetes_asyncio import config  # noqa: PLC0415 - an extra
        from kubernetes_asyncio.client import Configuration  # noqa: PLC0415 - an extra

        made = Configuration()
        if self._config is not None:
            await config.load_kube_config_from_dict(
                self._config.config, self._config.context_name, client_configuration=made
            )
            return made
        try:
            config.load_incluster_config(client_configuration=made)  # type: ignore[no-untyped-call]
        except config.ConfigException:
            await config.load_kube_config(
                self._platforms.kubeconfig, client_configuration=made, persist_config=False
            )
        return made


class Clusters:
    """One `Cluster` for each configuration in use."""

    def __init__(self, platforms: PlatformSettings, clock: Clock) -> None:
        self._platforms = platforms
        self._clock = clock
        self._known: dict[str, Cluster] = {}

    def of(self, config: KubernetesClusterConfigSettings | None) -> Cluster:
        """Return the cluster of a block's `cluster_config`; None means the agent's own."""
        key = key_of(config)
        if key not in self._known:
            self._known[key] = Cluster(config, self._platforms, self._clock)
        return self._known[key]

    async def by_uid(self, uid: str) -> Cluster | None:
        """Return a cluster that is in use by its identity; None if none of them has it.

        Raises:
            Transient: one of them does not answer, and may be it.
            NotStarted: one of them refuses us, and may be it.
        """
        # Those known by it first: the agent's own may be away, or there may be none.
        clusters = {*self._known.values(), self.of(None)}
        for cluster in sorted(clusters, key=lambda one: not one.is_known_as(uid)):
            try:
                if await cluster.uid() == uid:
                    return cluster
            except NotStarted:
                raise
            except NotLaunchable:  # no kubeconfig, say: nothing is reached that way
                continue
        return None

    async def close(self) -> None:
        """Close all connections."""
        for cluster in self._known.values():
            await cluster.close()


def key_of(config: KubernetesClusterConfigSettings | None) -> str:
    """Return what tells a configuration from others; no secret can be read from it."""
    if config is None:
        return ""
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _speaking() -> Iterator[None]:
    """Say what an error of the connection means.

    Raises:
        Unreachable: there is none.
    """
    import aiohttp  # noqa: PLC0415 - comes with the extra

    try:
        yield
    except aiohttp.ClientConnectorCertificateError:
        raise NotStarted(
            "the cluster's certificate is not trusted: name its authority in cluster_config, "
            "in the kubeconfig or by RECONCILER_PLATFORM_CA_FILE"
        ) from None
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"the cluster does not answer: {type(error).__name__}") from None


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data) if data else {}
    except ValueError:
        raise Overloaded("the cluster's answer is broken: no JSON") from None


def _meaning(status: int, body: bytes, retry_after: str | None) -> Exception:
    words = _words(body) or f"HTTP {status}"
    if status in {_TIMED_OUT, _LIMITED} or status >= _SERVER_ERROR:
        return Overloaded(f"the cluster is busy: {words}", retry_after=_seconds(retry_after))
    if status == _UNAUTHORISED:
        return Denied(
            f"the cluster refuses our credentials, expired or wrong: {words}; "
            "check cluster_config, or the agent's kubeconfig or service account"
        )
    kinds: Mapping[int, type[Exception]] = {
        400: NotLaunchable,
        403: Denied,
        404: Missing,
        409: Taken,
        410: Stale,
        422: NotLaunchable,
    }
    return kinds.get(status, NotStarted)(f"the cluster refuses: {words}")


def meaning_of(event: Json) -> Exception:
    """Return what an ERROR event of a stream means; it holds a Status like a refusal's body."""
    return _meaning(int(event.get("code") or _SERVER_ERROR), json.dumps(event).encode(), None)


def _words(body: bytes) -> str:
    """Return the message of a Status.

    API servers quote from a body that they can't decode, in which there are secrets.
    """
    try:
        status = json.loads(body)
        message = str(status.get("message") or status.get("reason") or "")
    except (ValueError, AttributeError):
        return ""
    return " ".join(message.partition(", error found in")[0].split())


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdigit() else None
