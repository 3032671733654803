"""The image of a flow run on the engine: there, or pulled."""

from typing import Any

from reconciler.blocks.docker import (
    DockerContainerSettings,
    DockerRegistrySettings,
    ImagePullPolicy,
)
from reconciler.infrastructure.base import NotStarted
from reconciler.infrastructure.docker.client import Engine, Missing
from reconciler.infrastructure.docker.request import pull_policy

_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


async def ensure(engine: Engine, settings: DockerContainerSettings, image: str) -> None:
    """Pull an image where the pull policy wants it.

    Raises:
        NotStarted: it can't be pulled; the message has the registry's words.
        Transient: the engine does not answer.
    """
    policy = pull_policy(settings, image)
    if policy is ImagePullPolicy.NEVER:
        return
    if policy is ImagePullPolicy.IF_NOT_PRESENT and await _has(engine, image):
        return
    auth = credentials(settings.image_registry, image)
    # The client wants a registry's host before it gives credentials to anybody.
    name = image if auth is None or registry_of(image) != "docker.io" else _with_host(image)
    try:
        await engine.ask(lambda docker: docker.images.pull(name, auth=auth))
    except NotStarted as error:
        raise NotStarted(f"image {image} can't be pulled: {error.message}") from None


def registry_of(image: str) -> str:
    """Return the host of an image's registry (Docker's rule: it has a dot or a port, or is localhost)."""
    first, slash, _ = image.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return "docker.io" if not named or first in _HUB else first


def credentials(registry: DockerRegistrySettings | None, image: str) -> dict[str, Any] | None:
    """Return what to log in with; only at the registry that the credentials are for."""
    if registry is None:
        return None
    address = registry.registry_url.partition("://")[2] or registry.registry_url
    host = address.split("/")[0]
    if ("docker.io" if host in _HUB else host) != registry_of(image):
        return None
    return {
        "username": registry.username,
        "password": registry.password.get_secret_value(),
        "serveraddress": registry.registry_url,
    }


def _with_host(image: str) -> str:
    first, slash, rest = image.partition("/")
    if not slash:
        return f"docker.io/library/{image}"
    return f"docker.io/{rest}" if first in _HUB else f"docker.io/{image}"


async def _has(engine: Engine, image: str) -> bool:
    try:
        await engine.ask(lambda docker: docker.images.inspect(image))
    except Missing:
        return False
    return True
