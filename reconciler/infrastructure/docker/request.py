"""What is asked of the engine for a flow run. Pure.

The rules are those of Prefect 2.20.26's DockerContainer (facts/infrastructure-blocks.md).
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from slugify import slugify

from reconciler.blocks.docker import DockerContainerSettings, ImagePullPolicy
from reconciler.blocks.images import is_reference
from reconciler.infrastructure.base import NotLaunchable
from reconciler.model.launch import LaunchSpec

TOKEN_LABEL = "io.reconciler.launch-token"  # noqa: S105 - the name of a label
RUN_LABEL = "io.reconciler.flow-run-id"
STREAM_LABEL = "io.reconciler.stream-output"
KEEP_LABEL = "io.reconciler.keep"
DEFAULT_COMMAND = ("prefect", "flow-run", "execute")

_API_URL = "PREFECT_API_URL"
_VERSION_LABEL = "prefect.io/version"
_HOST_NAME = "host.docker.internal"
_LOCAL = frozenset({"localhost", "127.0.0.1"})
_LONGEST_NAME = 180
_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)


def settings_of(spec: LaunchSpec) -> DockerContainerSettings:
    """Return the settings of a launch, as what they are."""
    assert isinstance(spec.settings, DockerContainerSettings)  # noqa: S101 - for the type checker
    return spec.settings


def container_name(spec: LaunchSpec) -> str:
    """Return the container's name: the readable one as Prefect makes it, then the launch token.

    The engine refuses a second container of one name, so a launch can't be made twice.
    """
    readable = slugify(
        spec.name, lowercase=False, max_length=_LONGEST_NAME, regex_pattern=r"[^a-zA-Z0-9_.-]+"
    ).lstrip("_-.")
    return f"{readable or 'flow-run'}-{spec.token}"


def image_of(settings: DockerContainerSettings, default: str) -> str:
    """Return the image to run.

    Raises:
        NotLaunchable: it is no image reference.
    """
    image = settings.image or default
    if not is_reference(image):
        raise NotLaunchable(f"image {image!r} is no image reference")
    return image


def pull_policy(settings: DockerContainerSettings, image: str) -> ImagePullPolicy:
    """Return when to pull; by default always where the tag is `latest` or left out."""
    if settings.image_pull_policy is not None:
        return settings.image_pull_policy
    tag = image.rpartition("/")[2].partition(":")[2]
    pinned = "@" in image or tag not in {"", "latest"}
    return ImagePullPolicy.IF_NOT_PRESENT if pinned else ImagePullPolicy.ALWAYS


def network_mode(settings: DockerContainerSettings, env: Mapping[str, str | None]) -> str | None:
    """Return the network mode: the host's where the API is on this machine and nothing else is set."""
    if settings.network_mode:
        return settings.network_mode
    if settings.networks:
        return None
    return "host" if is_local(env.get(_API_URL)) else None


def is_local(url: str | None) -> bool:
    """Tell whether a URL names this machine."""
    try:
        return url is not None and urlsplit(url).hostname in _LOCAL
    except ValueError:
        return False


def create_body(spec: LaunchSpec, image: str) -> dict[str, Any]:
    """Return the body of the engine's `POST /containers/create` (API 1.41).

    `auto_remove` is ours to do (`discard`): the engine would take the exit code along.

    Raises:
        NotLaunchable: a setting can't be used; the message names it.
    """
    settings = settings_of(spec)
    if settings.networks and settings.network_mode:
        raise NotLaunchable("networks and network_mode exclude each other")
    mode = network_mode(settings, spec.env)
    body: dict[str, Any] = {
        "Image": image,
        "Cmd": list(spec.command or DEFAULT_COMMAND),
        "Env": [f"{name}={value}" for name, value in _environment(spec, mode).items()],
        "Labels": _labels(spec),
        "HostConfig": _host(settings, mode),
    }
    if settings.networks:
        body["HostConfig"]["NetworkMode"] = settings.networks[0]
        body["NetworkingConfig"] = {"EndpointsConfig": {settings.networks[0]: {}}}
    return body


def size(field: str, value: float | str) -> int:
    """Return a size in bytes; takes Docker's units (`512m`, `2gb`), and -1 for no limit.

    Raises:
        NotLaunchable: it is no size.
    """
    if value in {-1, "-1"}:
        return -1
    found = _SIZE.fullmatch(str(value).strip())
    if found is None:
        raise NotLaunchable(f"{field} {value!r} is no size: give bytes, or a unit as in 512m")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def _host(settings: DockerContainerSettings, mode: str | None) -> dict[str, Any]:
    host: dict[str, Any] = {"AutoRemove": False, "Privileged": settings.privileged}
    if mode is not None:
        host["NetworkMode"] = mode
    if settings.volumes:
        host["Binds"] = [_volume(one) for one in settings.volumes]
    if settings.mem_limit is not None:
        host["Memory"] = size("mem_limit", settings.mem_limit)
    if settings.memswap_limit is not None:
        host["MemorySwap"] = size("memswap_limit", settings.memswap_limit)
    if _needs_host_name(settings.env.get(_API_URL), mode or ""):
        host["ExtraHosts"] = [f"{_HOST_NAME}:host-gateway"]
    return host


def _volume(volume: str) -> str:
    if ":" not in volume:
        raise NotLaunchable(f"volumes: {volume!r} has no colon: give host path:container path")
    return volume


def _needs_host_name(url: str | None, mode: str) -> bool:
    """Tell whether the container gets a name for its host; one that shares a network can't have any."""
    shares = mode in {"host", "none"} or mode.startswith("container:")
    return not shares and (url is None or is_local(url))


def _environment(spec: LaunchSpec, mode: str | None) -> dict[str, str]:
    env = {name: value for name, value in spec.env.items() if value is not None}
    url = env.get(_API_URL, "")
    if _API_URL not in settings_of(spec).env and is_local(url) and mode != "host":
        local = urlsplit(url).hostname or ""
        env[_API_URL] = url.replace(local, _HOST_NAME, 1)
    return env


def _labels(spec: LaunchSpec) -> dict[str, str]:
    """Return the labels in Docker's own form, reverse domains; Prefect's stay as they are."""
    settings = settings_of(spec)
    labels = {
        _reversed(name) if name in settings.labels else name: value
        for name, value in spec.labels.items()
    }
    if _VERSION_LABEL in spec.labels:
        labels["io.prefect.version"] = spec.labels[_VERSION_LABEL]
    return {
        **labels,
        TOKEN_LABEL: spec.token,
        RUN_LABEL: spec.flow_run_id,
        STREAM_LABEL: str(settings.stream_output).lower(),
        KEEP_LABEL: str(not settings.auto_remove).lower(),
    }


def _reversed(name: str) -> str:
    domain, slash, rest = name.partition("/")
    return ".".join([*reversed(domain.split(".")), rest]) if slash else name
