"""Two streams for each namespace, of Jobs and of pods, serve all runs in it."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial

import anyio

from reconciler.errors import ReconcilerError, Transient
from reconciler.infrastructure.base import Ends, NotLaunchable
from reconciler.infrastructure.kubernetes.client import (
    Cluster,
    Json,
    Missing,
    Query,
    Stale,
)
from reconciler.infrastructure.kubernetes.events import what_happened
from reconciler.infrastructure.kubernetes.manifest import TOKEN_LABEL
from reconciler.infrastructure.kubernetes.pods import OF_US, Place, jobs_path, pods_path
from reconciler.infrastructure.kubernetes.reasons import (
    REMOVED,
    hindrance,
    is_hopeless,
    is_running,
    is_taken_away,
    newest,
    taken_away,
    verdict,
)
from reconciler.infrastructure.kubernetes.stream import events
from reconciler.model.launch import Ended
from reconciler.runtime.backoff import Backoff
from reconciler.runtime.clock import Clock
from reconciler.runtime.supervision import race

_TICK = 1.0
_BACKOFF = Backoff(first=1.0, ceiling=60.0)
_PAGE = "500"
_REFUSED_PAUSE = 30.0

_REMOVAL_SECONDS = 300.0
"""After which a Job that we removed is given up, though its node does not let go of its pod."""

Key = tuple[str, str]
"""A cluster's key, and a namespace."""


@dataclass(slots=True)
class Watched:
    """A Job whose end somebody waits for.

    Attributes:
        token: its launch token.
        place: where it is.
        start_within: seconds in which its pod must run.
        run_within: seconds in which it must end then; None for no limit.
        since: monotonic seconds since when it is watched; then since it runs, or was removed.
        running: set when its pod runs, or when it has ended.
        late: why we remove it.
        removed: it was removed.
    """

    token: str
    place: Place
    start_within: float
    run_within: float | None
    since: float
    running: anyio.Event = field(default_factory=anyio.Event)
    late: str = ""
    removed: bool = False


@dataclass(slots=True)
class _View:
    """What is known of the watched Jobs of one namespace."""

    cluster: Cluster
    namespace: str
    watched: dict[str, Watched] = field(default_factory=dict)
    jobs: dict[str, Json] = field(default_factory=dict)
    pods: dict[str, dict[str, Json]] = field(default_factory=dict)


Take = Callable[[_View, str, Json], Awaitable[None]]


class Watcher:
    """Learns of the ends of Jobs; removes those that start too late or run too long.

    However many runs there are, a namespace costs two streams. Each run costs one look when it is
    first watched, one where its end came before its pod's, one where it was deleted. Nothing is asked while nobody waits.
    """

    def __init__(self, ends: Ends, clock: Clock) -> None:
        self._ends = ends
        self._clock = clock
        self._views: dict[Key, _View] = {}
        self._watched: dict[str, Watched] = {}
        self._changed = anyio.Event()

    async def add(self, watched: Watched) -> Watched:
        """Watch a Job, unless that is done already; look at it once, it may have ended.

        Returns:
            What is watched under its token.

        Raises:
            Transient: the cluster does not answer.
            NotLaunchable: it refuses.
        """
        known = self._watched.get(watched.token)
        if known is not None:
            return known
        place = watched.place
        key = (place.cluster.key, place.namespace)
        view = self._views.setdefault(key, _View(place.cluster, place.namespace))
        view.watched[place.name] = self._watched[watched.token] = watched
        self._changed.set()
        self._changed = anyio.Event()
        try:
            await self._look(view, watched)
        except BaseException:
            self.forget(watched.token)
            raise
        return watched

    def forget(self, token: str) -> None:
        """Watch a launch no more."""
        watched = self._watched.pop(token, None)
        if watched is not None:
            place = watched.place
            self._drop(self._views[place.cluster.key, place.namespace], place.name)
        self._ends.forget(token)

    def of_token(self, token: str) -> Watched | None:
        """Return what is watched under a token."""
        return self._watched.get(token)

    async def watch(self) -> None:
        """Watch for as long as the agent lives.

        Raises:
            NotLaunchable: we may not; whoever supervises it calls again.
        """
        await race(self._keep_serving, self._keep_time)

    async def _keep_serving(self) -> None:
        """Serve all namespaces in which somebody waits."""
        served: set[Key] = set()
        async with anyio.create_task_group() as group:
            while True:
                changed = self._changed
                for key in {key for key, view in self._views.items() if view.watched} - served:
                    served.add(key)
                    group.start_soon(self._serve, self._views[key], partial(served.discard, key))
                await changed.wait()

    async def _serve(self, view: _View, done: Callable[[], None]) -> None:
        """Follow one namespace until nobody waits there.

        Raises:
            NotLaunchable: we may not; the supervisor tells people, and has us go on.
        """
        delays = _BACKOFF.delays()
        jobs, pods = jobs_path(view.namespace), pods_path(view.namespace)
        while view.watched:
            try:
                jobs_version = await self._list(view, jobs, self._take_job)
                pods_version = await self._list(view, pods, self._take_pod)
                delays = _BACKOFF.delays()
                await race(
                    partial(self._follow, view, jobs, jobs_version, self._take_job),
                    partial(self._follow, view, pods, pods_version, self._take_pod),
                )
            except Stale:
                continue
            except Transient as error:
                await self._clock.sleep(error.retry_after or next(delays))
            except NotLaunchable:
                await self._clock.sleep(_REFUSED_PAUSE)
                raise
        done()

    async def _list(self, view: _View, path: str, take: Take) -> str:
        """List what there is, page by page; return the version from which to follow."""
        query: Query = (*OF_US, ("limit", _PAGE))
        names: set[str] = set()
        waiting = tuple(view.watched.values())
        while True:
            page = await view.cluster.ask("GET", path, query=query)
            for item in page["items"]:
                names.add(item["metadata"]["name"])
                await take(view, "MODIFIED", item)
            more = page["metadata"].get("continue")
            if not more:
                break
            query = (*OF_US, ("limit", _PAGE), ("continue", more))
        if path == jobs_path(view.namespace):
            for watched in waiting:  # what was there and is not listed is gone
                if watched.place.name not in names and watched.token in self._watched:
                    await self._look(view, watched)
        return str(page["metadata"]["resourceVersion"])

    async def _follow(self, view: _View, path: str, version: str, take: Take) -> None:
        changes = events(view.cluster, path, version, self._clock, lambda: bool(view.watched))
        async with aclosing(changes) as told:
            async for event in told:
                await take(view, event["type"], event["object"])
                if not view.watched:
                    return

    async def _take_job(self, view: _View, kind: str, job: Json) -> None:
        name = job["metadata"]["name"]
        watched = view.watched.get(name)
        if watched is None:
            return
        if kind == "DELETED":
            # Streams lag: it may be a Job of the same launch that was undone before this one.
            await self._look(view, watched)
            return
        view.jobs[name] = job
        await self._judge(view, watched)

    async def _take_pod(self, view: _View, _kind: str, pod: Json) -> None:
        metadata = pod["metadata"]
        name = (metadata.get("labels") or {}).get("job-name", "")
        watched = view.watched.get(name)
        if watched is None:
            return
        view.pods.setdefault(name, {})[metadata["name"]] = pod
        await self._judge(view, watched)
        if view.watched.get(name) is watched and not watched.late and is_taken_away(pod):
            # Before Kubernetes 1.26, the Job would make another pod, and the flow would run twice.
            job = view.jobs.get(name)
            if job is None or "deletionTimestamp" not in job["metadata"]:
                await self._remove(watched, taken_away(pod))

    async def _look(self, view: _View, watched: Watched) -> None:
        """Look at one Job and its pods."""
        try:
            job = await watched.place.job()
        except Missing:
            self._tell(view, watched, Ended(None, watched.late or REMOVED))
            return
        if job["metadata"]["labels"].get(TOKEN_LABEL) != watched.token:
            self._tell(view, watched, Ended(None, REMOVED))
            return
        pods = {pod["metadata"]["name"]: pod for pod in await watched.place.pods()}
        view.jobs[watched.place.name] = job
        view.pods[watched.place.name] = pods
        await self._judge(view, watched)

    async def _judge(self, view: _View, watched: Watched) -> None:
        name = watched.place.name
        job, pods = view.jobs.get(name), view.pods.get(name, {})
        if not watched.running.is_set() and any(is_running(pod) for pod in pods.values()):
            watched.since = self._clock.monotonic()
            watched.running.set()
        found = None if job is None else verdict(job, pods.values())
        if job is not None and found is not None:
            if found.exit_code is None:  # the pod's end may be on its way
                with suppress(ReconcilerError):
                    found = verdict(job, await watched.place.pods()) or found
            self._tell(view, watched, Ended(found.exit_code, watched.late or found.reason))
        elif not watched.late and any(is_hopeless(pod) for pod in pods.values()):
            await self._remove(watched, hindrance(newest(pods.values())))

    async def _keep_time(self) -> None:
        while True:
            if not self._watched:
                await self._changed.wait()
            for watched in list(self._watched.values()):
                with suppress(ReconcilerError):  # the next round tries again
                    await self._check_time(watched)
            await self._clock.sleep(_TICK)

    async def _check_time(self, watched: Watched) -> None:
        limit, spent = watched.run_within, self._clock.monotonic() - watched.since
        if watched.late and not watched.removed:
            await self._remove(watched, watched.late)
        elif watched.late:
            if spent > _REMOVAL_SECONDS:
                place = watched.place
                ended = Ended(None, f"{watched.late}; its pod has not gone yet")
                self._tell(self._views[place.cluster.key, place.namespace], watched, ended)
        elif not watched.running.is_set():
            if spent > watched.start_within:
                await self._remove_unstarted(watched)
        elif limit is not None and spent > limit:
            text = f"the job ran longer than job_watch_timeout_seconds ({limit:g} s)"
            await self._remove(watched, text)

    async def _remove_unstarted(self, watched: Watched) -> None:
        """Remove a Job whose pod does not run; ask first what is in its way."""
        place = watched.place
        pods = await place.pods()
        if any(is_running(pod) for pod in pods):
            return  # it has started just now: the stream will say so
        pod = newest(pods)
        why = hindrance(pod)
        told = await what_happened(place, pod)
        if told and told not in why:
            why = f"{why}; {told}"
        await self._remove(
            watched, f"the job did not start within {watched.start_within:g} s: {why}"
        )

    async def _remove(self, watched: Watched, why: str) -> None:
        """Remove a Job; its end is told when it is gone."""
        if (
            not watched.late
        ):  # said first: the cluster may be quicker with the end than with the answer
            watched.late, watched.since = why, self._clock.monotonic()
        with suppress(Missing):
            await watched.place.remove()
        watched.removed = True

    def _tell(self, view: _View, watched: Watched, ended: Ended) -> None:
        if view.watched.get(watched.place.name) is not watched:
            return  # it was forgotten meanwhile
        self._ends.tell(watched.token, ended)
        self._watched.pop(watched.token, None)
        self._drop(view, watched.place.name)

    @staticmethod
    def _drop(view: _View, name: str) -> None:
        watched = view.watched.pop(name, None)
        if watched is not None:
            watched.running.set()
        view.jobs.pop(name, None)
        view.pods.pop(name, None)
