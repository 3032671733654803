"""Launches flow runs as Docker containers."""

from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import anyio

from reconciler.blocks.base import InfrastructureSettings
from reconciler.blocks.docker import DockerContainerSettings
from reconciler.blocks.images import is_reference
from reconciler.errors import Transient, Unreachable
from reconciler.infrastructure.base import Ends, NotLaunchable, NotStarted, Surroundings
from reconciler.infrastructure.base.logs import Logs
from reconciler.infrastructure.docker import images, output
from reconciler.infrastructure.docker.client import (
    Engine,
    Missing,
    Taken,
    asking,
    base_url,
    is_remote,
)
from reconciler.infrastructure.docker.request import (
    KEEP_LABEL,
    RUN_LABEL,
    STREAM_LABEL,
    TOKEN_LABEL,
    container_name,
    create_body,
    image_of,
    is_local,
    network_mode,
    settings_of,
)
from reconciler.infrastructure.docker.watcher import Watcher
from reconciler.model.launch import Ended, Found, Handle, LaunchSpec, Sought

_LAST_LINES = 10
_DRAIN_SECONDS = 5.0
"""How long the rest of an ended container's output may take to come."""
_CREATED = "created"


class DockerLauncher:
    """Launches flow runs as containers of one Docker engine.

    A container is made, recorded and then started. Its name ends in the launch token, so the engine
    refuses a second one, and a label has the token, by which it is found. 'Never started' is: there
    is none, or its status is `created`.
    """

    slug: ClassVar[str] = "docker-container"
    local: ClassVar[bool] = False
    settings: ClassVar[type[InfrastructureSettings]] = DockerContainerSettings

    def __init__(self, surroundings: Surroundings) -> None:
        self._around = surroundings
        self._base = base_url(surroundings.platforms)
        self.host_bound = not is_remote(surroundings.platforms)
        self._engine = Engine(surroundings.platforms, surroundings.clock)
        self._ends = Ends()
        self._folder = surroundings.state_dir / "runs"
        self._logs = Logs(self._folder, surroundings.output)
        self._watcher = Watcher(self._engine, self._ends, surroundings.clock)

    def owns(self, pid: str) -> bool:
        """Tell whether a pid, `<engine>:<container id>` as Prefect writes it, is of this engine."""
        engine, _, container = pid.rpartition(":")
        return engine == self._base and bool(container)

    async def find(self, sought: Sought) -> Found | None:
        """Look a launch up by the label with its token.

        Raises:
            Transient: the engine does not answer.
        """
        try:
            shown = await self._by_label(TOKEN_LABEL, sought.token)
        except NotLaunchable:  # the extra is missing, say
            return None
        if shown is None:
            never = Handle(sought.token, sought.flow_run_id, None)
            return Found(never, started=False, alive=False)
        handle = Handle(sought.token, sought.flow_run_id, self._pid(shown["Id"]))
        over = shown["State"] in {"exited", "dead", "removing"}
        return Found(handle, started=shown["State"] != _CREATED, alive=not over)

    async def create(self, spec: LaunchSpec) -> Handle:
        """Make the container, with its image and networks.

        Raises:
            NotLaunchable: the settings can't be used; the message names the field.
            NotStarted: there is no engine, no image, no network.
        """
        settings = settings_of(spec)
        image = image_of(settings, self._around.images)
        body, name = create_body(spec, image), container_name(spec)
        try:
            await images.ensure(self._engine, settings, image)
            container = await self._made(name, body, spec)
            for network in settings.networks[1:]:
                await self._join(network, container)
        except Unreachable as error:
            raise NotStarted(error.message) from None
        return Handle(spec.token, spec.flow_run_id, self._pid(container))

    async def start(self, handle: Handle) -> Handle:
        """Start the container, unless it was started already.

        The engine starts an ended container again, so it is asked once only: where the answer is
        lost, the next survey looks.

        Raises:
            NotLaunchable: it is gone.
            NotStarted: the engine can't start it; the message has its words.
            Transient: nobody knows whether it started.
        """
        container = _id(handle)
        shown = await self._show(container)
        if shown is None:
            raise NotLaunchable("the container is gone: somebody else removed it")
        if shown["State"]["Status"] == _CREATED:
            with asking():
                await self._engine.docker.containers.container(container).start()
        return handle

    async def ended(self, handle: Handle) -> Ended:
        """Wait for the end of the container, and pass its output on meanwhile."""
        container = _id(handle)
        shown = await self._show(container)
        self._watcher.add(container, handle.token)
        if shown is None or shown["Config"]["Labels"].get(STREAM_LABEL) != "true":
            ended = await self._ends.wait(handle.token)
        else:
            ended = await self._followed(handle, container)
        try:
            last = await output.tail(self._engine, container, _LAST_LINES)
        except Transient:
            last = ()
        return Ended(ended.exit_code, ended.reason, last or await self._kept(handle.flow_run_id))

    async def stop(self, handle: Handle, grace: float) -> None:
        """Stop the container; the engine kills it after `grace` seconds.

        Raises:
            Transient: the engine does not answer.
        """
        container = await self._container(handle)
        if container is None:
            return
        shown = await self._show(container)
        if shown is not None and shown["State"]["Status"] != _CREATED:
            seconds = round(grace)
            with suppress(Missing):
                await self._engine.ask(
                    lambda docker: docker.containers.container(container).stop(t=seconds)
                )

    async def discard(self, handle: Handle) -> None:
        """Remove the container, unless it ran and `auto_remove` is off: then it is kept, as by Prefect."""
        self._watcher.forget(handle.token)
        container = await self._container(handle)
        shown = None if container is None else await self._show(container)
        if container is None or shown is None:
            return
        kept = shown["Config"]["Labels"].get(KEEP_LABEL) == "true"
        if shown["State"]["Status"] == _CREATED or not kept:
            with suppress(Missing, Taken):  # gone, or on its way
                await self._engine.remove(container)

    async def logs(self, sought: Sought, lines: int) -> tuple[str, ...]:
        """Return the last lines of a launch's output: the engine's, else those kept."""
        live: tuple[str, ...] = ()
        with suppress(NotLaunchable, Transient):
            shown = await self._by_label(RUN_LABEL, sought.flow_run_id)
            live = () if shown is None else await output.tail(self._engine, shown["Id"], lines)
        return live or self._logs.tail(sought.flow_run_id, lines)

    async def watch(self) -> None:
        """Watch all containers; told to end, close the way to the engine."""
        try:
            await self._watcher.watch()
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self.close()
            raise

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.close()

    async def preflight(self, settings: InfrastructureSettings, api_url: str) -> tuple[str, ...]:  # noqa: ARG002
        """Say what is wrong with the settings, and what the engine lacks."""
        assert isinstance(settings, DockerContainerSettings)  # noqa: S101 - for the type checker
        problems = []
        image = settings.image or self._around.images
        if not is_reference(image):
            problems.append(f"image {image!r} is no image reference")
        if settings.networks and settings.network_mode:
            problems.append("networks and network_mode exclude each other")
        own = settings.env.get("PREFECT_API_URL")
        if is_local(own) and network_mode(settings, settings.env) != "host":
            problems.append(
                f"PREFECT_API_URL {own}: a container finds itself there, and no Prefect; "
                "leave it out, or set network_mode: host"
            )
        try:
            await self._engine.ask(lambda docker: docker.version())
            for network in settings.networks:
                await self._network(network)
        except (NotLaunchable, Transient) as error:
            problems.append(error.message)
        return tuple(problems)

    async def _made(self, name: str, body: dict[str, Any], spec: LaunchSpec) -> str:
        try:
            made = await self._engine.ask(lambda docker: docker.containers.create(body, name=name))
        except Taken:
            shown = await self._by_label(TOKEN_LABEL, spec.token)
            if shown is None:
                raise
            return str(shown["Id"])
        return str(made.id)

    async def _join(self, network: str, container: str) -> None:
        shown = await self._show(container)
        if shown is not None and network in shown["NetworkSettings"]["Networks"]:
            return
        found = await self._network(network)
        await self._engine.ask(lambda _: found.connect({"Container": container}))

    async def _network(self, name: str) -> Any:
        try:
            return await self._engine.ask(lambda docker: docker.networks.get(name))
        except Missing:
            raise NotStarted(f"networks: the Docker engine has no network {name}") from None

    async def _followed(self, handle: Handle, container: str) -> Ended:
        read = anyio.Event()

        async def follow() -> None:
            since = self._read_until(handle)
            with suppress(NotStarted, Transient):  # a log is no reason to lose a run
                await output.follow(self._engine, container, handle.flow_run_id, self._logs, since)
            read.set()

        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            ended = await self._ends.wait(handle.token)
            with anyio.move_on_after(_DRAIN_SECONDS):
                await read.wait()
            group.cancel_scope.cancel()
        return ended

    def _read_until(self, handle: Handle) -> float:
        """Return when an earlier agent wrote the last line of the run's log."""
        try:
            return (self._folder / f"{handle.flow_run_id}.log").stat().st_mtime
        except OSError:
            return 0.0

    async def _kept(self, run_id: str) -> tuple[str, ...]:
        return await anyio.to_thread.run_sync(partial(self._logs.tail, run_id, _LAST_LINES))

    async def _container(self, handle: Handle) -> str | None:
        if handle.pid is not None:
            return _id(handle)
        shown = await self._by_label(TOKEN_LABEL, handle.token)
        return None if shown is None else str(shown["Id"])

    async def _by_label(self, label: str, value: str) -> Any:
        """Return the container with a label as the engine lists it, None if there is none."""
        filters = {"label": [f"{label}={value}"]}
        listed = await self._engine.ask(
            lambda docker: docker.containers.list(all=True, filters=filters)
        )
        return listed[0] if listed else None

    async def _show(self, container: str) -> dict[str, Any] | None:
        try:
            return await self._engine.ask(
                lambda docker: docker.containers.container(container).show()
            )
        except Missing:
            return None

    def _pid(self, container: str) -> str:
        return f"{self._base}:{container}"


def _id(handle: Handle) -> str:
    return (handle.pid or "").rpartition(":")[2]
