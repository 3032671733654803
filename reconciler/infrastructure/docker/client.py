"""The way to a Docker engine: aiodocker, and what its errors mean for a launch."""

import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from reconciler.errors import Overloaded, Transient, Unreachable
from reconciler.infrastructure.base import NotLaunchable, NotStarted
from reconciler.runtime.clock import Clock
from reconciler.settings import PlatformSettings

if TYPE_CHECKING:
    import aiodocker

T = TypeVar("T")
MISSING = "Docker containers need the extra: pip install 'prefect-reconciler[docker]'"
_UNREACHED = 900  # aiodocker's own status
_BUSY = frozenset({429, 503, 504})
_AWAY = (
    "the Docker engine can't be reached: is it running, and may this user use its socket? "
    "RECONCILER_DOCKER_HOST names another engine"
)
_WAIT_SECONDS = 60.0
_PAUSES = (0.2, 0.5, 1.0, 2.0, 3.0, 4.0)
_DEFAULT = "unix:///var/run/docker.sock"


class Missing(NotStarted):
    """The engine has no such container, image or network."""


class Taken(NotStarted):
    """The engine has another one of that name, or it is in a state that forbids this."""


class Engine:
    """One Docker engine; connected when it is first asked."""

    def __init__(self, platforms: PlatformSettings, clock: Clock) -> None:
        self._platforms = platforms
        self._clock = clock
        self._docker: aiodocker.Docker | None = None

    @property
    def docker(self) -> "aiodocker.Docker":
        """The client. Needs a running event loop.

        Raises:
            NotLaunchable: the extra is missing, the address or the certificates are wrong.
        """
        if self._docker is None:
            self._docker = _connect(self._platforms)
        return self._docker

    async def ask(self, call: Callable[["aiodocker.Docker"], Awaitable[T]]) -> T:
        """Ask something that may be asked again; do so where the engine is busy or away for a moment.

        Raises:
            Transient: it still is.
            NotStarted, NotLaunchable: it refuses (`asking`).
            Missing: what is asked about is not there.
        """
        docker = self.docker
        for pause in (*_PAUSES, None):
            try:
                with asking():
                    return await call(docker)
            except Transient:
                if pause is None:
                    raise
                await self._clock.sleep(pause)
        raise AssertionError  # the last round returns or raises

    async def remove(self, container: str) -> None:
        """Remove a container with its anonymous volumes, running or not.

        Raises:
            Missing, Taken: it is gone, or on its way.
            Transient: the engine does not answer.
        """
        await self.ask(
            lambda docker: docker.containers.container(container).delete(force=True, v=True)
        )

    async def close(self) -> None:
        """Close the connections."""
        docker, self._docker = self._docker, None
        if docker is not None:
            await docker.close()
            await docker.connector.close()


def _connect(platforms: PlatformSettings) -> "aiodocker.Docker":
    try:
        import aiodocker  # noqa: PLC0415 - an extra
        import aiohttp  # noqa: PLC0415 - comes with it
    except ImportError:
        raise NotLaunchable(MISSING) from None
    address = platforms.docker_host or _DEFAULT
    scheme, _, rest = address.partition("://")
    # No limit on connections: each run with streamed output holds one.
    connector: aiohttp.BaseConnector
    if scheme == "unix":
        url, connector = "http://localhost", aiohttp.UnixConnector(rest, limit=0)
    elif scheme in {"tcp", "http", "https"}:
        context = _certificates(platforms)
        url = f"{'http' if context is None and scheme != 'https' else 'https'}://{rest.rstrip('/')}"
        connector = aiohttp.TCPConnector(ssl=True if context is None else context, limit=0)
    else:
        raise NotLaunchable(f"RECONCILER_DOCKER_HOST {address!r}: give unix://… or tcp://…")
    timeout = aiohttp.ClientTimeout(total=_WAIT_SECONDS)
    return aiodocker.Docker(url=url, connector=connector, timeout=timeout)


def _certificates(platforms: PlatformSettings) -> ssl.SSLContext | None:
    folder = platforms.docker_cert_path
    if folder is None:
        return None
    try:
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    except OSError as error:
        raise NotLaunchable(f"RECONCILER_DOCKER_CERT_PATH can't be used: {error}") from None
    return context


def base_url(platforms: PlatformSettings) -> str:
    """Return the engine's address as Prefect writes it into an `infrastructure_pid`.

    Prefect's client calls every local socket `http+docker://localhost` (facts).
    """
    address = platforms.docker_host or "unix://"
    if not is_remote(platforms):
        return "http+docker://localhost"
    scheme = "https" if platforms.docker_cert_path is not None else "http"
    return f"{scheme}://{address.partition('://')[2].rstrip('/')}"


def is_remote(platforms: PlatformSettings) -> bool:
    """Tell whether the engine is reached over the network."""
    return (platforms.docker_host or "").startswith(("tcp://", "http://", "https://"))


@contextmanager
def asking() -> Iterator[None]:
    """Say what an error of the engine means.

    Raises:
        Unreachable: it does not answer.
        Overloaded: it is busy.
        Missing, Taken, NotStarted: it refuses, or failed at it; the message has its words.
        NotLaunchable: it calls the request wrong.
    """
    import aiodocker  # noqa: PLC0415 - an extra
    import aiohttp  # noqa: PLC0415 - comes with it

    try:
        yield
    except aiodocker.DockerError as error:
        raise _meaning(error.status, str(error.message)) from None
    except (KeyError, ValueError):
        # aiodocker wants a "message" in every refusal; what stands before an engine may give none.
        raise Overloaded("the Docker engine's answer is not one of its own") from None
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"the Docker engine does not answer: {type(error).__name__}") from None


def _meaning(status: int, words: str) -> Exception:
    words = " ".join(words.split())
    if status == _UNREACHED:
        return Unreachable(_AWAY)
    if status in _BUSY:
        return Overloaded(f"the Docker engine is busy: {words}")
    kind = {400: NotLaunchable, 404: Missing, 409: Taken}.get(status, NotStarted)
    return kind(f"the Docker engine refuses: {words}")
