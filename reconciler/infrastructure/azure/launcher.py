"""Launches flow runs as Azure container instances."""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

import anyio

from reconciler.blocks.azure import AzureContainerInstanceJobSettings
from reconciler.blocks.base import InfrastructureSettings
from reconciler.errors import ReconcilerError, Transient, Unreachable
from reconciler.infrastructure.azure.client import Place, Subscriptions
from reconciler.infrastructure.azure.failures import Missing, Taken
from reconciler.infrastructure.azure.reasons import end_of
from reconciler.infrastructure.azure.request import (
    TOKEN_TAG,
    container_group,
    group_name,
    settings_of,
)
from reconciler.infrastructure.azure.watcher import Watched, Watcher
from reconciler.infrastructure.base import Ends, NotLaunchable, NotStarted, Surroundings
from reconciler.infrastructure.base.addresses import is_of_this_machine
from reconciler.infrastructure.base.logs import Logs
from reconciler.model.launch import Ended, Found, Handle, LaunchSpec, Sought

_PID = re.compile(r"[a-z0-9-]+-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LAST_LINES = 10
_KEPT_LINES = 500
_LOOK_SECONDS = 1.0
_STOP_SECONDS = 120.0
"""How long after its grace a stopped group may take to stand still."""


@dataclass(slots=True)
class _Prepared:
    place: Place
    body: dict[str, Any] = field(repr=False)


class AzureLauncher:
    """Launches flow runs as container groups of Azure Container Instances.

    To make a group is to start it. So `create` prepares: it looks the location up and makes the
    request. `start` makes the group under a name that ends in the launch token, if there is none
    (it asks first, and sends `If-None-Match: *`). 'Never started' is: there is no such group.
    """

    slug: ClassVar[str] = "azure-container-instance-job"
    local: ClassVar[bool] = False
    host_bound = False
    settings: ClassVar[type[InfrastructureSettings]] = AzureContainerInstanceJobSettings

    def __init__(self, surroundings: Surroundings) -> None:
        self._clock = surroundings.clock
        self._images = surroundings.images
        self._subscriptions = Subscriptions(surroundings.platforms, surroundings.clock)
        self._logs = Logs(surroundings.state_dir / "runs", surroundings.output)
        self._ends = Ends()
        self._watcher = Watcher(self._ends, self._logs, surroundings.clock)
        self._prepared: dict[str, _Prepared] = {}
        self._settings: dict[str, AzureContainerInstanceJobSettings] = {}

    def owns(self, pid: str) -> bool:
        """Tell whether a pid is of a container group: its name, as Prefect writes it."""
        return _PID.fullmatch(pid) is not None

    async def find(self, sought: Sought) -> Found | None:
        """Look a launch up: by the recorded name, else by the tag with its token.

        Where we may not look, None: it can't be known. Only with a recorded group that is an error
        that passes, since it may be running.

        Raises:
            Transient: Azure does not answer.
        """
        if not isinstance(sought.settings, AzureContainerInstanceJobSettings):
            return None
        self._settings[sought.token] = sought.settings
        try:
            return await self._found(sought, sought.settings)
        except NotLaunchable as error:
            if sought.pid is not None:
                raise Transient(error.message) from None
            return None

    async def create(self, spec: LaunchSpec) -> Handle:
        """Prepare all that can be without starting; nothing is made yet.

        Raises:
            NotLaunchable: the settings are wrong; the message names the field.
            NotStarted: Azure can't be reached or refuses.
            Transient: Azure is busy.
        """
        settings = settings_of(spec)
        subscription = self._subscriptions.of(settings)
        try:
            location = await subscription.location(settings.resource_group_name)
        except Unreachable as error:
            raise NotStarted(error.message) from None
        except Missing as error:
            raise NotStarted(f"resource_group_name: {error.message}") from None
        name = group_name(spec)
        place = Place(subscription, settings.resource_group_name, name)
        body = container_group(spec, self._images, location)
        self._prepared[spec.token] = _Prepared(place, body)
        self._settings[spec.token] = settings
        return Handle(spec.token, spec.flow_run_id, name)

    async def start(self, handle: Handle) -> Handle:
        """Make the group, unless there is one.

        Raises:
            NotLaunchable: it was prepared by an agent that is gone, or Azure refuses the request.
            NotStarted: Azure does not give it: the image, a quota, a permission.
            Transient: nobody knows whether it was made.
        """
        prepared = self._prepared.get(handle.token)
        if prepared is None:
            raise NotLaunchable("the container group was prepared by an agent that is gone")
        place = prepared.place
        try:
            await place.group()
        except Missing:
            with suppress(Taken):
                await place.subscription.make(place.resource_group, place.name, prepared.body)
        return handle

    async def ended(self, handle: Handle) -> Ended:
        """Wait until the watcher sees the group's container ended, or deletes it for a late start."""
        settings, place = self._place(handle)
        stream = bool(settings.stream_output)
        passed = 0
        if stream:
            kept = await anyio.to_thread.run_sync(self._logs.tail, handle.flow_run_id, 10**9)
            passed = len(kept)
        self._watcher.add(
            Watched(
                token=handle.token,
                run_id=handle.flow_run_id,
                place=place,
                interval=settings.task_watch_poll_interval,
                start_within=settings.task_start_timeout_seconds,
                since=self._clock.monotonic(),
                stream=stream,
                passed=passed,
            )
        )
        ended = await self._ends.wait(handle.token)
        await self._keep_log(handle, settings, place)
        return Ended(
            ended.exit_code, ended.reason, self._logs.tail(handle.flow_run_id, _LAST_LINES)
        )

    async def stop(self, handle: Handle, grace: float) -> None:
        """Stop the group, wait until its container has ended, keep its log, and delete the group.

        Azure has no grace for each stop, whatever `grace` is.

        Raises:
            Transient: Azure does not answer, or the container does not end.
        """
        if handle.token not in self._settings:
            return
        settings, place = self._place(handle)
        until = self._clock.monotonic() + grace + _STOP_SECONDS
        with suppress(Missing):
            if end_of(await place.group()) is None:
                await place.stop()
            while end_of(await place.group()) is None:
                if self._clock.monotonic() > until:
                    raise Transient("the container group was told to stop, and has not stopped yet")
                await self._clock.sleep(_LOOK_SECONDS)
            await self._keep_log(handle, settings, place)
            await place.delete()

    async def discard(self, handle: Handle) -> None:
        """Delete the group, as Prefect does."""
        self._watcher.forget(handle.token)
        self._prepared.pop(handle.token, None)
        if handle.pid is not None and handle.token in self._settings:
            _, place = self._place(handle)
            with suppress(Missing):
                await place.delete()
        self._settings.pop(handle.token, None)

    async def logs(self, sought: Sought, lines: int) -> tuple[str, ...]:
        """Return the last lines of a launch's output: the group's, else those kept."""
        live: tuple[str, ...] = ()
        with suppress(NotLaunchable, Transient):
            found = await self.find(sought)
            if found is not None and found.handle.pid is not None:
                live = await self._place(found.handle)[1].log(lines)
        return live or self._logs.tail(sought.flow_run_id, lines)

    async def watch(self) -> None:
        """Watch all container groups."""
        await self._watcher.watch()

    async def close(self) -> None:
        """Nothing is held open."""

    async def preflight(self, settings: InfrastructureSettings, api_url: str) -> tuple[str, ...]:
        """Say what is wrong with the settings, and what Azure lacks."""
        assert isinstance(settings, AzureContainerInstanceJobSettings)  # noqa: S101 - for the type checker
        problems = []
        try:
            spec = LaunchSpec("token", "run", "run", self.slug, settings)
            container_group(spec, self._images, "nowhere")
        except NotLaunchable as error:
            problems.append(error.message)
        own = settings.env.get("PREFECT_API_URL") or api_url
        if is_of_this_machine(own):
            problems.append(
                f"PREFECT_API_URL {own}: a container group finds itself there, and no Prefect; "
                "give the API an address that Azure's network can reach"
            )
        try:
            await self._subscriptions.of(settings).location(settings.resource_group_name)
        except Missing as error:
            problems.append(f"resource_group_name: {error.message}")
        except (NotLaunchable, Transient) as error:
            problems.append(error.message)
        return tuple(problems)

    async def _found(
        self, sought: Sought, settings: AzureContainerInstanceJobSettings
    ) -> Found | None:
        subscription = self._subscriptions.of(settings)
        name = sought.pid
        if name is None or not name.endswith(sought.token):
            name = await self._by_tag(settings, sought.token)
        if name is not None:
            place = Place(subscription, settings.resource_group_name, name)
            with suppress(Missing):
                group = await place.group()
                handle = Handle(sought.token, sought.flow_run_id, name)
                return Found(handle, started=True, alive=end_of(group) is None)
        never = Handle(sought.token, sought.flow_run_id, None)
        return Found(never, started=False, alive=False)

    async def _by_tag(self, settings: AzureContainerInstanceJobSettings, token: str) -> str | None:
        groups = await self._subscriptions.of(settings).groups(settings.resource_group_name)
        mine = (one["name"] for one in groups if (one.get("tags") or {}).get(TOKEN_TAG) == token)
        return next(mine, None)

    async def _keep_log(
        self, handle: Handle, settings: AzureContainerInstanceJobSettings, place: Place
    ) -> None:
        """Keep the end of a log that was not passed on; the group is about to go."""
        if not settings.stream_output:
            with suppress(ReconcilerError):  # a log is no reason to lose a run
                self._logs.add(handle.flow_run_id, await place.log(_KEPT_LINES))

    def _place(self, handle: Handle) -> tuple[AzureContainerInstanceJobSettings, Place]:
        settings = self._settings.get(handle.token)
        if settings is None or handle.pid is None:
            raise NotLaunchable("the block of the container group can't be read any more")
        subscription = self._subscriptions.of(settings)
        return settings, Place(subscription, settings.resource_group_name, handle.pid)
