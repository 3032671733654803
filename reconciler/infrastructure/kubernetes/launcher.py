"""Launches flow runs as Kubernetes Jobs."""

from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import anyio

from reconciler.blocks.base import InfrastructureSettings
from reconciler.blocks.kubernetes import KubernetesJobSettings
from reconciler.errors import ReconcilerError, Transient, Unreachable
from reconciler.infrastructure.base import Ends, NotLaunchable, NotStarted, Surroundings
from reconciler.infrastructure.base.addresses import is_of_this_machine
from reconciler.infrastructure.base.logs import Logs
from reconciler.infrastructure.kubernetes import output
from reconciler.infrastructure.kubernetes.client import (
    MERGE_PATCH,
    Cluster,
    Clusters,
    Denied,
    Json,
    Missing,
    Taken,
)
from reconciler.infrastructure.kubernetes.manifest import (
    DISCARD,
    TOKEN_LABEL,
    job_manifest,
    namespace_of,
    settings_of,
)
from reconciler.infrastructure.kubernetes.pods import Place, jobs_path, pods_path
from reconciler.infrastructure.kubernetes.preflight import problems_of
from reconciler.infrastructure.kubernetes.reasons import verdict
from reconciler.infrastructure.kubernetes.watcher import Watched, Watcher
from reconciler.model.launch import Ended, Found, Handle, LaunchSpec, Sought

_LAST_LINES = 10
_KEPT_LINES = 500
"""Of the log of a run whose output isn't streamed, so that it can be read when the Job is gone."""
_DRAIN_SECONDS = 5.0
"""How long the rest of an ended pod's output may take to come."""
_READ_SECONDS = 12.0
"""How long the end of a Job may wait for the log of its pod: longer than a node's link takes to come."""
_LOOK_SECONDS = 1.0
_PARTS_OF_A_PID = 3
_STARTED = {"spec": {"parallelism": 1}}
_GONE = "the Job is gone: somebody else deleted it"


class KubernetesLauncher:
    """Launches flow runs as Jobs of Kubernetes clusters.

    A Job is made with `parallelism: 0`, which makes no pod, recorded, and then told to start by
    `parallelism: 1`. Its name ends in the launch token, so the API refuses a second one, and a
    label has the token, by which it is found. 'Never started' is: there is none, or it has no
    parallelism.
    """

    slug: ClassVar[str] = "kubernetes-job"
    local: ClassVar[bool] = False
    host_bound = False
    settings: ClassVar[type[InfrastructureSettings]] = KubernetesJobSettings

    def __init__(self, surroundings: Surroundings) -> None:
        self._around = surroundings
        self._clock = surroundings.clock
        self._clusters = Clusters(surroundings.platforms, surroundings.clock)
        self._folder = surroundings.state_dir / "runs"
        self._logs = Logs(self._folder, surroundings.output)
        self._ends = Ends()
        self._watcher = Watcher(self._ends, surroundings.clock)
        self._settings: dict[str, KubernetesJobSettings] = {}

    def owns(self, pid: str) -> bool:
        """Tell whether a pid is of a Job, `<cluster uid>:<namespace>:<name>` as Prefect writes it."""
        return "/" not in pid and len(pid.split(":")) == _PARTS_OF_A_PID

    async def find(self, sought: Sought) -> Found | None:
        """Look a launch up by the label with its token.

        Where we may not look, None: it can't be known. Only with a recorded Job that is an error
        that passes, since it may be running.

        Raises:
            Transient: the cluster does not answer.
        """
        if isinstance(sought.settings, KubernetesJobSettings):
            self._settings[sought.token] = sought.settings
        try:
            return await self._found(sought)
        except NotLaunchable as error:
            if sought.pid is not None:
                raise Transient(error.message) from None
            return None

    async def create(self, spec: LaunchSpec) -> Handle:
        """Make the Job; it has no pod yet.

        Raises:
            NotLaunchable: the settings can't be used; the message names the field.
            NotStarted: the cluster can't be reached, or refuses.
            Transient: nobody knows whether it was made, or one that was undone is not gone yet.
        """
        settings = settings_of(spec)
        manifest = job_manifest(spec, self._around.images)
        cluster = self._clusters.of(settings.cluster_config)
        try:
            uid = await cluster.uid()
        except Unreachable as error:
            raise NotStarted(error.message) from None
        metadata = manifest["metadata"]
        place = Place(cluster, metadata["namespace"], metadata["name"])
        try:
            await cluster.ask("POST", jobs_path(place.namespace), body=manifest)
        except Taken:
            there = await place.job()
            if there["metadata"].get("labels", {}).get(TOKEN_LABEL) != spec.token:
                raise
            if _is_going(there):
                raise Transient("an earlier Job of this launch is still being deleted") from None
        self._settings[spec.token] = settings
        return Handle(spec.token, spec.flow_run_id, f"{uid}:{place.namespace}:{place.name}")

    async def start(self, handle: Handle) -> Handle:
        """Let the Job make its pod; to be told twice changes nothing.

        Raises:
            NotLaunchable: it is gone.
            NotStarted: the cluster refuses.
            Transient: nobody knows whether it was told.
        """
        place = await self._place(handle)
        try:
            job = await place.cluster.ask("PATCH", place.path, body=_STARTED, content=MERGE_PATCH)
        except Missing:
            raise NotLaunchable(_GONE) from None
        if _is_going(job):  # then it makes no pod any more
            raise NotLaunchable(_GONE)
        return handle

    async def ended(self, handle: Handle) -> Ended:
        """Wait for the end of the Job, and pass its output on meanwhile.

        Raises:
            Transient: the cluster does not answer.
        """
        place = await self._place(handle)
        settings = self._settings.get(handle.token) or KubernetesJobSettings()
        watched = await self._watcher.add(
            Watched(
                token=handle.token,
                place=place,
                start_within=settings.pod_watch_timeout_seconds,
                run_within=settings.job_watch_timeout_seconds,
                since=self._clock.monotonic(),
            )
        )
        streamed = settings.stream_output
        if streamed:
            ended = await self._followed(handle, watched)
        else:
            ended = await self._ends.wait(handle.token)
        last = await self._last_lines(handle, place, streamed=streamed)
        return Ended(ended.exit_code, ended.reason, last)

    async def stop(self, handle: Handle, grace: float) -> None:
        """Delete the Job, and wait until its pods and it are gone.

        Pods get `grace` seconds, but never more than their `terminationGracePeriodSeconds`, which
        the cluster's own deletion gives them.

        Raises:
            Transient: the cluster does not answer.
        """
        if handle.pid is None:
            return
        place = await self._place(handle)
        with suppress(Missing):
            if verdict(await place.job(), ()) is not None:
                return  # it has ended
            await place.remove()
            await self._hasten(place, grace)
            while True:
                await place.job()
                await self._clock.sleep(_LOOK_SECONDS)

    async def discard(self, handle: Handle) -> None:
        """Delete the Job if it was never started, or if its time-to-live is that short.

        Others stay for people to look at, or for as long as `finished_job_ttl` says.
        """
        self._watcher.forget(handle.token)
        self._settings.pop(handle.token, None)
        if handle.pid is None:
            return
        place = await self._place(handle)
        with suppress(Missing):
            job = await place.job()
            annotations = job["metadata"].get("annotations") or {}
            if not _was_started(job) or annotations.get(DISCARD) == "true":
                await place.remove()

    async def logs(self, sought: Sought, lines: int) -> tuple[str, ...]:
        """Return the last lines of a launch's output: the pod's, else those kept."""
        live: tuple[str, ...] = ()
        with suppress(NotLaunchable, Transient):
            found = await self.find(sought)
            if found is not None and found.handle.pid is not None:
                live = await output.tail(await self._place(found.handle), lines)
        return live or self._logs.tail(sought.flow_run_id, lines)

    async def watch(self) -> None:
        """Watch all Jobs; told to end, close the way to the clusters."""
        try:
            await self._watcher.watch()
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self.close()
            raise

    async def close(self) -> None:
        """Close the connections."""
        await self._clusters.close()

    async def preflight(self, settings: InfrastructureSettings, api_url: str) -> tuple[str, ...]:
        """Say what is wrong with the settings, and what the cluster lacks."""
        assert isinstance(settings, KubernetesJobSettings)  # noqa: S101 - for the type checker
        problems: list[str] = []
        try:
            namespace = namespace_of(settings)
        except NotLaunchable as error:
            return (error.message,)
        own = settings.env.get("PREFECT_API_URL") or api_url
        if is_of_this_machine(own):
            problems.append(
                f"PREFECT_API_URL {own}: a pod finds itself there, and no Prefect; "
                "give the API an address that the cluster's pods can reach"
            )
        cluster = self._clusters.of(settings.cluster_config)
        return (*problems, *await problems_of(cluster, settings, namespace))

    async def _found(self, sought: Sought) -> Found | None:
        where = await self._where(sought)
        if where is None:
            return None
        cluster, uid, namespace = where
        query = (("labelSelector", f"{TOKEN_LABEL}={sought.token}"),)
        listed = (await cluster.ask("GET", jobs_path(namespace), query=query))["items"]
        if not listed:
            never = Handle(sought.token, sought.flow_run_id, None)
            return Found(never, started=False, alive=False)
        job = listed[0]
        pid = f"{uid}:{namespace}:{job['metadata']['name']}"
        handle = Handle(sought.token, sought.flow_run_id, pid)
        started = _was_started(job)
        return Found(handle, started=started, alive=verdict(job, ()) is None)

    async def _where(self, sought: Sought) -> tuple[Cluster, str, str] | None:
        """Return the cluster, its identity and the namespace to look in; None if nobody knows."""
        if sought.pid is not None and sought.pid.endswith(sought.token):
            uid, namespace, _ = sought.pid.split(":")
            if isinstance(sought.settings, KubernetesJobSettings):
                self._clusters.of(sought.settings.cluster_config)
            known = await self._clusters.by_uid(uid)
            return None if known is None else (known, uid, namespace)
        if not isinstance(sought.settings, KubernetesJobSettings):
            return None
        cluster = self._clusters.of(sought.settings.cluster_config)
        return cluster, await cluster.uid(), namespace_of(sought.settings)

    async def _place(self, handle: Handle) -> Place:
        uid, namespace, name = (handle.pid or "::").split(":")
        settings = self._settings.get(handle.token)
        if settings is not None:
            cluster = self._clusters.of(settings.cluster_config)
            if await cluster.uid() == uid:
                return Place(cluster, namespace, name)
        known = await self._clusters.by_uid(uid)
        if known is None:
            raise NotLaunchable(f"the Job is in a cluster that isn't known here (uid {uid})")
        return Place(known, namespace, name)

    async def _hasten(self, place: Place, grace: float) -> None:
        """Let the pods of a deleted Job end within the grace period."""
        path = pods_path(place.namespace)
        for pod in await place.pods():
            wish = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": round(grace)}
            with suppress(Missing, Denied):
                await place.cluster.ask("DELETE", f"{path}/{pod['metadata']['name']}", body=wish)

    async def _followed(self, handle: Handle, watched: Watched) -> Ended:
        read = anyio.Event()

        async def follow() -> None:
            await watched.running.wait()
            since = self._read_until(handle)
            with suppress(ReconcilerError):  # a log is no reason to lose a run
                place, run_id = watched.place, handle.flow_run_id
                await output.follow(place, run_id, self._logs, since, self._clock)
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

    async def _last_lines(self, handle: Handle, place: Place, *, streamed: bool) -> tuple[str, ...]:
        """Return the end of a Job's log; keep more of it where it was not streamed."""
        run_id = handle.flow_run_id
        if not streamed:
            self._logs.add(run_id, await self._kept_lines(place))
        return await anyio.to_thread.run_sync(partial(self._logs.tail, run_id, _LAST_LINES))

    async def _kept_lines(self, place: Place) -> tuple[str, ...]:
        """Read the log of an ended Job; its end waits a while for that, and is told without it."""
        try:
            with anyio.fail_after(_READ_SECONDS):
                return await output.tail(place, _KEPT_LINES, ended=True)
        except ReconcilerError as error:
            why = error.message
        except TimeoutError:
            why = f"the cluster did not answer within {_READ_SECONDS:g} s"
        return (f"(its output could not be read: {why})",)


def _is_going(job: Json) -> bool:
    return "deletionTimestamp" in job["metadata"]


def _was_started(job: Json) -> bool:
    status: dict[str, Any] = job.get("status") or {}
    told = bool(job["spec"].get("parallelism"))
    return told or any(status.get(count) for count in ("active", "succeeded", "failed"))
