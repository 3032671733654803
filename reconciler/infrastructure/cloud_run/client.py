"""The way to Cloud Run: Google's own client in threads, and what its errors mean for a launch.

Answers are turned into the JSON of the Admin API v2 (`google.protobuf.json_format`), which all other
modules read.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
from anyio import to_thread

from reconciler.blocks.gcp import GcpCredentialsSettings
from reconciler.errors import Transient
from reconciler.infrastructure.base import NotLaunchable
from reconciler.infrastructure.cloud_run.connection import Clients, connect
from reconciler.infrastructure.cloud_run.failures import meaning, speaking
from reconciler.runtime.clock import Clock
from reconciler.settings import PlatformSettings

Json = dict[str, Any]
T = TypeVar("T")

_LOGGING = "https://logging.googleapis.com"
_WAIT_SECONDS = 30.0
_PAUSES = (0.2, 0.5, 1.0, 2.0, 3.0, 4.0)
_THREADS = 16


class Account:
    """Google Cloud through one set of credentials; connected when it is first asked.

    Attributes:
        key: tells it from others; no secret can be read from it.
    """

    def __init__(
        self, credentials: GcpCredentialsSettings, platforms: PlatformSettings, clock: Clock
    ) -> None:
        self._credentials = credentials
        self._platforms = platforms
        self._clock = clock
        self._clients: Clients | None = None
        self._connecting = anyio.Lock()
        self._limiter: anyio.CapacityLimiter | None = None
        self.key = key_of(credentials)

    async def project(self) -> str:
        """Return the project: the block's, else that of the credentials.

        Raises:
            NotLaunchable: neither names one, or the credentials can't be used.
        """
        clients = await self._connected()
        project = self._credentials.project or clients.project
        if project is None:
            raise NotLaunchable("credentials: no project is known; set project")
        return project

    async def job(self, name: str) -> Json:
        """Read a job.

        Raises:
            Missing: there is none.
            Transient, NotStarted, NotLaunchable: as `failures.meaning` says.
        """
        return await self._ask(lambda at: _json(at.jobs.get_job(name=name, **_ONCE)))

    async def jobs(self, parent: str) -> list[Json]:
        """List the jobs of a region, as many requests as there are pages.

        Raises:
            Transient, NotStarted, NotLaunchable: as `failures.meaning` says.
        """
        return await self._ask(
            lambda at: [_json(one) for one in at.jobs.list_jobs(parent=parent, **_ONCE)]
        )

    async def create(self, parent: str, job_id: str, body: Json) -> None:
        """Make a job; it may take a while until it is ready.

        Raises:
            Taken: there is one.
            NotLaunchable: the body is wrong.
            Transient, NotStarted: as `failures.meaning` says.
        """

        def call(at: Clients) -> None:
            at.jobs.create_job(parent=parent, job=_job(body), job_id=job_id, **_ONCE)

        await self._ask(call)

    async def update(self, body: Json) -> None:
        """Write a job that was read; its `etag` must still be that of the job.

        Raises:
            Taken: it was changed since.
            Transient, NotStarted, NotLaunchable: as `failures.meaning` says.
        """
        await self._once(lambda at: at.jobs.update_job(job=_job(body), **_ONCE))

    async def run(self, name: str, etag: str) -> None:
        """Run a job in this very version; asked once only.

        Raises:
            Taken: it was changed since.
            Transient: nobody knows whether it runs.
            NotStarted, NotLaunchable: as `failures.meaning` says.
        """
        request = {"name": name, "etag": etag}
        await self._once(lambda at: at.jobs.run_job(request=request, **_ONCE))

    async def delete(self, name: str) -> None:
        """Delete a job with its executions.

        Raises:
            Missing: it is gone already.
            Transient, NotStarted, NotLaunchable: as `failures.meaning` says.
        """
        await self._ask(lambda at: at.jobs.delete_job(name=name, **_ONCE))

    async def executions(self, job: str) -> list[Json]:
        """List a job's executions.

        Raises:
            Missing: the job is gone.
            Transient, NotStarted, NotLaunchable: as `failures.meaning` says.
        """
        return await self._ask(
            lambda at: [_json(one) for one in at.executions.list_executions(parent=job, **_ONCE)]
        )

    async def execution(self, name: str) -> Json:
        """Read an execution.

        Raises:
            Missing: it is gone.
            Transient, NotStarted, NotLaunchable: as `failures.meaning` says.
        """
        return await self._ask(lambda at: _json(at.executions.get_execution(name=name, **_ONCE)))

    async def cancel(self, execution: str) -> None:
        """Cancel an execution.

        Raises:
            Transient, NotStarted, NotLaunchable: as `failures.meaning` says.
        """
        await self._ask(lambda at: at.executions.cancel_execution(name=execution, **_ONCE))

    async def tasks(self, execution: str) -> list[Json]:
        """List the tasks of an execution.

        Raises:
            Transient, NotStarted, NotLaunchable: as `failures.meaning` says.
        """
        return await self._ask(
            lambda at: [_json(one) for one in at.tasks.list_tasks(parent=execution, **_ONCE)]
        )

    async def log(self, execution: str, lines: int) -> tuple[str, ...]:
        """Return the last lines that an execution wrote, from Cloud Logging (`entries:list`).

        Raises:
            Transient, NotStarted, NotLaunchable: as `failures.meaning` says.
        """
        project = execution.split("/")[1]
        wanted = {
            "resourceNames": [f"projects/{project}"],
            "filter": (
                'resource.type="cloud_run_job" AND '
                f'labels."run.googleapis.com/execution_name"="{execution.rpartition("/")[2]}"'
            ),
            "orderBy": "timestamp desc",
            "pageSize": lines,
        }
        url = f"{self._platforms.cloud_logging_endpoint or _LOGGING}/v2/entries:list"

        def call(at: Clients) -> tuple[str, ...]:
            answer = at.session.post(url, json=wanted, timeout=_WAIT_SECONDS)
            if not answer.ok:
                raise meaning(answer.status_code, answer.reason or "")
            told = (_text(entry) for entry in answer.json().get("entries", ()))
            return tuple(line for line in reversed([one for one in told if one]))

        return await self._ask(call)

    async def _ask(self, call: Callable[[Clients], T]) -> T:
        """Ask something that may be asked again, in a thread."""
        for pause in (*_PAUSES, None):
            try:
                return await self._once(call)
            except Transient as error:
                if pause is None:
                    raise
                await self._clock.sleep(error.retry_after or pause)
        raise AssertionError  # the last round returns or raises

    async def _once(self, call: Callable[[Clients], T]) -> T:
        clients = await self._connected()

        def guarded() -> T:
            with speaking():
                return call(clients)

        return await to_thread.run_sync(guarded, limiter=self._limiter, abandon_on_cancel=True)

    async def _connected(self) -> Clients:
        async with self._connecting:
            if self._limiter is None:
                self._limiter = anyio.CapacityLimiter(_THREADS)
            if self._clients is None:
                self._clients = await to_thread.run_sync(
                    connect, self._credentials, self._platforms, limiter=self._limiter
                )
            return self._clients


class Accounts:
    """One `Account` for each set of credentials in use."""

    def __init__(self, platforms: PlatformSettings, clock: Clock) -> None:
        self._platforms = platforms
        self._clock = clock
        self._known: dict[str, Account] = {}

    def of(self, credentials: GcpCredentialsSettings | None) -> Account:
        """Return the account of a credentials block; None means what this machine has."""
        wanted = credentials or GcpCredentialsSettings()
        key = key_of(wanted)
        if key not in self._known:
            self._known[key] = Account(wanted, self._platforms, self._clock)
        return self._known[key]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job is.

    Attributes:
        account: that may use it.
        name: `projects/P/locations/R/jobs/ID`.
    """

    account: Account
    name: str

    @property
    def parent(self) -> str:
        """Project and region."""
        return self.name.rpartition("/jobs/")[0]


def key_of(credentials: GcpCredentialsSettings) -> str:
    """Return what tells credentials from others; no secret can be read from it."""
    info = credentials.service_account_info
    hidden = None if info is None else info.get_secret_value()
    shown = [credentials.service_account_file, credentials.project, hidden]
    return hashlib.sha256(json.dumps(shown, sort_keys=True, default=str).encode()).hexdigest()


_ONCE: dict[str, Any] = {"retry": None, "timeout": _WAIT_SECONDS}


def _job(body: Json) -> Any:
    from google.cloud import run_v2  # noqa: PLC0415 - an extra
    from google.protobuf.json_format import ParseError  # noqa: PLC0415 - an extra

    try:
        return run_v2.Job.from_json(json.dumps(body))
    except ParseError:
        raise NotLaunchable("the settings make no Cloud Run job") from None


def _json(message: Any) -> Json:
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - an extra

    return dict(MessageToDict(type(message).pb(message)))


def _text(entry: Json) -> str:
    if "textPayload" in entry:
        return str(entry["textPayload"]).rstrip("\n")
    payload = entry.get("jsonPayload")
    if isinstance(payload, dict):
        return str(payload.get("message") or json.dumps(payload))
    return ""
