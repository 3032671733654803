"""Launches flow runs as jobs of Google Cloud Run."""

import re
import uuid
from contextlib import suppress
from itertools import islice
from typing import ClassVar

from reconciler.blocks.base import InfrastructureSettings
from reconciler.blocks.gcp import CloudRunJobSettings
from reconciler.errors import ReconcilerError, Transient, Unreachable
from reconciler.infrastructure.base import Ends, NotLaunchable, NotStarted, Surroundings
from reconciler.infrastructure.base.addresses import is_of_this_machine
from reconciler.infrastructure.base.logs import Logs
from reconciler.infrastructure.cloud_run.client import Accounts, Json, Place
from reconciler.infrastructure.cloud_run.failures import Missing, Taken
from reconciler.infrastructure.cloud_run.reasons import fault, is_over, is_settled, latest
from reconciler.infrastructure.cloud_run.request import START, job, job_id, settings_of
from reconciler.infrastructure.cloud_run.watcher import Watched, Watcher
from reconciler.model.launch import Ended, Found, Handle, LaunchSpec, Sought
from reconciler.runtime.backoff import Backoff

_PID = re.compile(r"projects/[^/:]+/locations/(?P<region>[^/:]+)/jobs/prefect-(?P<token>[^/:]+)")
_LAST_LINES = 10
_KEPT_LINES = 500
_LOG_TRIES = 3
_LOG_LAG = 2.0
"""Seconds between them: Cloud Logging shows lines some time after they were written."""
_LOOK_SECONDS = 1.0
_READY_SECONDS = 120.0
_STARTS = 10
_BACKOFF = Backoff(first=0.5, ceiling=8.0)
_STOP_SECONDS = 60.0
"""How long after its grace a cancelled execution may take to end."""


class CloudRunLauncher:
    """Launches flow runs as jobs of Google Cloud Run.

    A job is made, recorded and then run. Its id is the launch token, so the API refuses a second
    one. 'Never started' is: there is no job, or it has no execution.

    To run a job has no idempotency key in the API. So a start first writes its own mark into the job
    (an annotation), which gives it a new `etag`, then looks for an execution, and then runs the job
    in the version that has its mark: a request of an earlier start that is still on its way is
    refused from then on, whoever sent it.
    """

    slug: ClassVar[str] = "cloud-run-job"
    local: ClassVar[bool] = False
    host_bound = False
    settings: ClassVar[type[InfrastructureSettings]] = CloudRunJobSettings

    def __init__(self, surroundings: Surroundings) -> None:
        self._clock = surroundings.clock
        self._accounts = Accounts(surroundings.platforms, surroundings.clock)
        self._logs = Logs(surroundings.state_dir / "runs", surroundings.output)
        self._ends = Ends()
        self._watcher = Watcher(self._ends, surroundings.clock)
        self._settings: dict[str, CloudRunJobSettings] = {}

    def owns(self, pid: str) -> bool:
        """Tell whether a pid is of a job, `projects/P/locations/R/jobs/prefect-TOKEN`."""
        return _PID.fullmatch(pid) is not None

    async def find(self, sought: Sought) -> Found | None:
        """Look a launch up by the id of its job.

        Where we may not look, None: it can't be known. Only with a recorded job that is an error
        that passes, since it may be running.

        Raises:
            Transient: Google does not answer.
        """
        if isinstance(sought.settings, CloudRunJobSettings):
            self._settings[sought.token] = sought.settings
        try:
            return await self._found(sought)
        except NotLaunchable as error:
            if sought.pid is not None:
                raise Transient(error.message) from None
            return None

    async def create(self, spec: LaunchSpec) -> Handle:
        """Make the job; nothing runs yet.

        Raises:
            NotLaunchable: the settings can't be used; the message names the field.
            NotStarted: Google can't be reached or refuses: permissions, the image, a quota.
            Transient: nobody knows whether it was made.
        """
        settings = settings_of(spec)
        body = job(spec)
        self._settings[spec.token] = settings
        try:
            place = await self._place_of(settings, spec.token)
        except Unreachable as error:
            raise NotStarted(error.message) from None
        with suppress(Taken):
            await place.account.create(place.parent, job_id(spec.token), body)
        made = await self._settled(place)
        why = fault(made)
        if why is not None:
            with suppress(ReconcilerError):
                await place.account.delete(place.name)
            raise NotStarted(f"Cloud Run can't run the job with image {settings.image}: {why}")
        return Handle(spec.token, spec.flow_run_id, place.name)

    async def start(self, handle: Handle) -> Handle:
        """Run the job, unless it ran already.

        Raises:
            NotLaunchable: it is gone.
            NotStarted: Google refuses.
            Transient: nobody knows whether it runs; it may be started again.
        """
        place = self._place(handle)
        try:
            for pause in islice(_BACKOFF.delays(), _STARTS):
                if await self._started(place):
                    return handle
                await self._clock.sleep(pause)
        except Missing:
            raise NotLaunchable("the Cloud Run job is gone: somebody else deleted it") from None
        raise Transient("nobody knows whether the Cloud Run job runs")

    async def ended(self, handle: Handle) -> Ended:
        """Wait for the end of the job's execution."""
        settings = self._settings.get(handle.token)
        place = self._place(handle)
        within = None if settings is None else settings.timeout
        self._watcher.add(
            Watched(
                token=handle.token,
                place=place,
                start_within=within or 600,
                since=self._clock.monotonic(),
            )
        )
        ended = await self._ends.wait(handle.token)
        last = await self._last_lines(handle, place, wait=ended.exit_code != 0)
        return Ended(ended.exit_code, ended.reason, last)

    async def stop(self, handle: Handle, grace: float) -> None:
        """Cancel the execution, wait until it has ended, keep its log, and delete the job.

        Cloud Run has no grace for each stop: it kills 10 s after SIGTERM, whatever `grace` is.

        Raises:
            Transient: Google does not answer, or the execution does not end.
        """
        if handle.pid is None:
            return
        place = self._place(handle)
        until = self._clock.monotonic() + grace + _STOP_SECONDS
        with suppress(Missing):
            reference = latest(await place.account.job(place.name))
            if reference is not None and not is_over(reference):
                await place.account.cancel(reference["name"])
                while not is_over(await place.account.execution(reference["name"])):
                    if self._clock.monotonic() > until:
                        text = "the Cloud Run job was told to stop, and has not stopped yet"
                        raise Transient(text)
                    await self._clock.sleep(_LOOK_SECONDS)
                await self._last_lines(handle, place, wait=False)
            settings = self._settings.get(handle.token)
            if settings is None or not settings.keep_job:
                await place.account.delete(place.name)

    async def discard(self, handle: Handle) -> None:
        """Delete the job, unless it ran and `keep_job` is on."""
        self._watcher.forget(handle.token)
        settings = self._settings.pop(handle.token, None)
        if handle.pid is None:
            return
        place = self._place(handle, settings)
        keep = settings is not None and settings.keep_job
        with suppress(Missing):
            if not keep or latest(await place.account.job(place.name)) is None:
                await place.account.delete(place.name)

    async def logs(self, sought: Sought, lines: int) -> tuple[str, ...]:
        """Return the last lines of a launch's output: Cloud Logging's, else those kept."""
        live: tuple[str, ...] = ()
        with suppress(NotLaunchable, Transient):
            found = await self.find(sought)
            if found is not None and found.handle.pid is not None:
                place = self._place(found.handle)
                reference = latest(await place.account.job(place.name))
                if reference is not None:
                    live = await place.account.log(reference["name"], lines)
        return live or self._logs.tail(sought.flow_run_id, lines)

    async def watch(self) -> None:
        """Watch all jobs."""
        await self._watcher.watch()

    async def close(self) -> None:
        """Nothing is held open."""

    async def preflight(self, settings: InfrastructureSettings, api_url: str) -> tuple[str, ...]:
        """Say what is wrong with the settings, and what Google lacks."""
        assert isinstance(settings, CloudRunJobSettings)  # noqa: S101 - for the type checker
        problems = []
        try:
            job(LaunchSpec("token", "run", "run", self.slug, settings))
        except NotLaunchable as error:
            problems.append(error.message)
        own = settings.env.get("PREFECT_API_URL") or api_url
        if is_of_this_machine(own):
            problems.append(
                f"PREFECT_API_URL {own}: a Cloud Run job finds itself there, and no Prefect; "
                "give the API an address that Google's network can reach"
            )
        try:
            place = await self._place_of(settings, "preflight")
            await place.account.jobs(place.parent)
        except Missing:
            problems.append(f"region: Cloud Run has no region {settings.region}")
        except (NotLaunchable, Transient) as error:
            problems.append(error.message)
        return tuple(problems)

    async def _found(self, sought: Sought) -> Found | None:
        settings = self._settings.get(sought.token)
        recorded = sought.pid is not None and sought.pid.endswith(sought.token)
        if recorded:
            place = self._place(Handle(sought.token, sought.flow_run_id, sought.pid))
        elif settings is not None:
            place = await self._place_of(settings, sought.token)
        else:
            return None
        try:
            there = await place.account.job(place.name)
        except Missing:
            never = Handle(sought.token, sought.flow_run_id, None)
            return Found(never, started=False, alive=False)
        handle = Handle(sought.token, sought.flow_run_id, place.name)
        reference = latest(there)
        alive = reference is None or not is_over(reference)
        return Found(handle, started=reference is not None, alive=alive)

    async def _started(self, place: Place) -> bool:
        """Try to run a job once, safe against every earlier try.

        Returns:
            Whether it runs; else it may be tried again.
        """
        account = place.account
        before = await account.job(place.name)
        if latest(before) is not None:
            return True
        ours = str(uuid.uuid4())
        annotations = {**before.get("annotations", {}), START: ours}
        try:
            await account.update({**before, "annotations": annotations})
            after = await self._settled(place)
            if after.get("annotations", {}).get(START) != ours:
                return False  # another start came after ours: this version is its
            if await account.executions(place.name):
                return True
            await account.run(place.name, after["etag"])
        except (Taken, Transient):  # changed by another start, or nobody knows
            return False
        return True

    async def _settled(self, place: Place) -> Json:
        """Wait until Cloud Run has taken in the last change of a job.

        Raises:
            Transient: that takes too long.
        """
        until = self._clock.monotonic() + _READY_SECONDS
        while not is_settled(found := await place.account.job(place.name)):
            if self._clock.monotonic() > until:
                raise Transient("the Cloud Run job does not get ready")
            await self._clock.sleep(_LOOK_SECONDS)
        return found

    async def _place_of(self, settings: CloudRunJobSettings, token: str) -> Place:
        account = self._accounts.of(settings.credentials)
        parent = f"projects/{await account.project()}/locations/{settings.region}"
        return Place(account, f"{parent}/jobs/{job_id(token)}")

    def _place(self, handle: Handle, settings: CloudRunJobSettings | None = None) -> Place:
        known = settings or self._settings.get(handle.token)
        account = self._accounts.of(None if known is None else known.credentials)
        return Place(account, handle.pid or "")

    async def _last_lines(self, handle: Handle, place: Place, *, wait: bool) -> tuple[str, ...]:
        """Return the end of a job's log, and keep more of it: the job is about to go."""
        lines: tuple[str, ...] = ()
        with suppress(ReconcilerError):  # a log is no reason to lose a run
            reference = latest(await place.account.job(place.name))
            for left in range(_LOG_TRIES if wait and reference else bool(reference), 0, -1):
                assert reference is not None  # noqa: S101 - for the type checker
                lines = await place.account.log(reference["name"], _KEPT_LINES)
                if lines or left == 1:
                    break
                await self._clock.sleep(_LOG_LAG)
        self._logs.add(handle.flow_run_id, lines)
        return lines[-_LAST_LINES:]
