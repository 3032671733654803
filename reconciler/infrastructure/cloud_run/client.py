"""The way to Cloud Run: Google's own client in threads, and what its errors mean for a launch.

Answers are turned into the JSON of the Admin API v2 (`google.protobuf.json_format`), which all other
modules read.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
from anyio import to_thread

from reconciler.blocks.gcp import GcpCredentialsSettings
from reconciler.errors import Overloaded, Transient, Unreachable
from reconciler.infrastructure.base import NotLaunchable, NotStarted
from reconciler.runtime.clock import Clock
from reconciler.settings import PlatformSettings

Json = dict[str, Any]
T = TypeVar("T")

MISSING = "Cloud Run jobs need the extra: pip install 'prefect-reconciler[gcp]'"

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_RUN = "https://run.googleapis.com"
_LOGGING = "https://logging.googleapis.com"
_WAIT_SECONDS = 30.0
_PAUSES = (0.2, 0.5, 1.0, 2.0, 3.0, 4.0)
_THREADS = 16
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_CREDENTIALS = "check credentials: the key may be expired or deleted"


class Missing(NotStarted):
    """There is no such job."""


class Taken(NotStarted):
    """There is one of that name, or it was changed since it was read (its `etag`)."""


class Denied(NotStarted):
    """Google does not take our credentials, or they lack a permission."""


@dataclass(slots=True)
class _Clients:
    """What is made once for a set of credentials."""

    session: Any
    jobs: Any
    executions: Any
    tasks: Any
    project: str | None


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
        self._clients: _Clients | None = None
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
            Transient, NotStarted, NotLaunchable: as `_meaning` says.
        """
        return await self._ask(lambda at: _json(at.jobs.get_job(name=name, **_ONCE)))

    async def jobs(self, parent: str) -> list[Json]:
        """List the jobs of a region, as many requests as there are pages.

        Raises:
            Transient, NotStarted, NotLaunchable: as `_meaning` says.
        """
        return await self._ask(
            lambda at: [_json(one) for one in at.jobs.list_jobs(parent=parent, **_ONCE)]
        )

    async def create(self, parent: str, job_id: str, body: Json) -> None:
        """Make a job; it may take a while until it is ready.

        Raises:
            Taken: there is one.
            NotLaunchable: the body is wrong.
            Transient, NotStarted: as `_meaning` says.
        """

        def call(at: _Clients) -> None:
            at.jobs.create_job(parent=parent, job=_job(body), job_id=job_id, **_ONCE)

        await self._ask(call)

    async def update(self, body: Json) -> None:
        """Write a job that was read; its `etag` must still be that of the job.

        Raises:
            Taken: it was changed since.
            Transient, NotStarted, NotLaunchable: as `_meaning` says.
        """
        await self._once(lambda at: at.jobs.update_job(job=_job(body), **_ONCE))

    async def run(self, name: str, etag: str) -> None:
        """Run a job in this very version; asked once only.

        Raises:
            Taken: it was changed since.
            Transient: nobody knows whether it runs.
            NotStarted, NotLaunchable: as `_meaning` says.
        """
        request = {"name": name, "etag": etag}
        await self._once(lambda at: at.jobs.run_job(request=request, **_ONCE))

    async def delete(self, name: str) -> None:
        """Delete a job with its executions.

        Raises:
            Missing: it is gone already.
            Transient, NotStarted, NotLaunchable: as `_meaning` says.
        """
        await self._ask(lambda at: at.jobs.delete_job(name=name, **_ONCE))

    async def executions(self, job: str) -> list[Json]:
        """List a job's executions.

        Raises:
            Missing: the job is gone.
            Transient, NotStarted, NotLaunchable: as `_meaning` says.
        """
        return await self._ask(
            lambda at: [_json(one) for one in at.executions.list_executions(parent=job, **_ONCE)]
        )

    async def execution(self, name: str) -> Json:
        """Read an execution.

        Raises:
            Missing: it is gone.
            Transient, NotStarted, NotLaunchable: as `_meaning` says.
        """
        return await self._ask(lambda at: _json(at.executions.get_execution(name=name, **_ONCE)))

    async def cancel(self, execution: str) -> None:
        """Cancel an execution.

        Raises:
            Transient, NotStarted, NotLaunchable: as `_meaning` says.
        """
        await self._ask(lambda at: at.executions.cancel_execution(name=execution, **_ONCE))

    async def tasks(self, execution: str) -> list[Json]:
        """List the tasks of an execution.

        Raises:
            Transient, NotStarted, NotLaunchable: as `_meaning` says.
        """
        return await self._ask(
            lambda at: [_json(one) for one in at.tasks.list_tasks(parent=execution, **_ONCE)]
        )

    async def log(self, execution: str, lines: int) -> tuple[str, ...]:
        """Return the last lines that an execution wrote, from Cloud Logging (`entries:list`).

        Raises:
            Transient, NotStarted, NotLaunchable: as `_meaning` says.
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

        def call(at: _Clients) -> tuple[str, ...]:
            answer = at.session.post(url, json=wanted, timeout=_WAIT_SECONDS)
            if not answer.ok:
                raise _meaning(answer.status_code, answer.reason or "")
            told = (_text(entry) for entry in answer.json().get("entries", ()))
            return tuple(line for line in reversed([one for one in told if one]))

        return await self._ask(call)

    async def _ask(self, call: Callable[[_Clients], T]) -> T:
        """Ask something that may be asked again, in a thread."""
        for pause in (*_PAUSES, None):
            try:
                return await self._once(call)
            except Transient as error:
                if pause is None:
                    raise
                await self._clock.sleep(error.retry_after or pause)
        raise AssertionError  # the last round returns or raises

    async def _once(self, call: Callable[[_Clients], T]) -> T:
        clients = await self._connected()

        def guarded() -> T:
            with _speaking():
                return call(clients)

        return await to_thread.run_sync(guarded, limiter=self._limiter, abandon_on_cancel=True)

    async def _connected(self) -> _Clients:
        async with self._connecting:
            if self._limiter is None:
                self._limiter = anyio.CapacityLimiter(_THREADS)
            if self._clients is None:
                self._clients = await to_thread.run_sync(
                    _connect, self._credentials, self._platforms, limiter=self._limiter
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


def _connect(credentials: GcpCredentialsSettings, platforms: PlatformSettings) -> _Clients:
    """Make the clients.

    Raises:
        NotLaunchable: the extra is missing, or the credentials can't be used.
    """
    try:
        from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415 - an extra
        from google.cloud import run_v2  # noqa: PLC0415 - an extra
    except ImportError:
        raise NotLaunchable(MISSING) from None
    known, project = _credentials(credentials)
    address = urlsplit(platforms.cloud_run_endpoint or _RUN)

    def trusting(session: Any) -> Any:
        if platforms.ca_file is not None:
            # Also the inner session that asks for tokens; Google gives no other way in.
            inner = session._auth_request.session  # noqa: SLF001
            session.verify = inner.verify = str(platforms.ca_file)
        return session

    def client(service: Any) -> Any:
        kind: Any = service.get_transport_class("rest")
        made = kind(host=address.netloc, url_scheme=address.scheme, credentials=known)
        trusting(made._session)  # noqa: SLF001 - the same
        return service(transport=made)

    return _Clients(
        session=trusting(AuthorizedSession(known)),  # type: ignore[no-untyped-call]
        jobs=client(run_v2.JobsClient),
        executions=client(run_v2.ExecutionsClient),
        tasks=client(run_v2.TasksClient),
        project=project,
    )


def _credentials(block: GcpCredentialsSettings) -> tuple[Any, str | None]:
    """Return the credentials and the project that they are of.

    Raises:
        NotLaunchable: they can't be read, or there are none.
    """
    import google.auth  # noqa: PLC0415 - an extra
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415 - an extra
    from google.oauth2.service_account import Credentials  # noqa: PLC0415 - an extra

    where = "credentials"
    try:
        if block.service_account_info is not None:
            where = "credentials.service_account_info"
            info = dict(block.service_account_info.get_secret_value())
            made: Any = Credentials.from_service_account_info(info, scopes=_SCOPES)  # type: ignore[no-untyped-call]
            return made, made.project_id
        if block.service_account_file is not None:
            where = "credentials.service_account_file"
            path = Path(block.service_account_file).expanduser()
            made = Credentials.from_service_account_file(str(path), scopes=_SCOPES)  # type: ignore[no-untyped-call]
            return made, made.project_id
        return google.auth.default(scopes=_SCOPES)
    except OSError as error:
        raise NotLaunchable(f"{where} can't be read: {error.strerror}") from None
    except (GoogleAuthError, ValueError, KeyError, TypeError) as error:
        # What it stumbles over may be the key: its kind is told, its text is not.
        raise NotLaunchable(f"{where} can't be used: {type(error).__name__}") from None


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


@contextmanager
def _speaking() -> Iterator[None]:
    """Say what an error of the client means.

    Raises:
        Unreachable: Google does not answer.
        Denied: it does not take the credentials.
    """
    from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415 - an extra
    from google.auth.exceptions import (  # noqa: PLC0415 - an extra
        GoogleAuthError,
        RefreshError,
        TransportError,
    )
    from requests import RequestException  # noqa: PLC0415 - an extra
    from requests.exceptions import SSLError  # noqa: PLC0415 - an extra

    try:
        yield
    except GoogleAPICallError as error:
        raise _meaning(int(error.code or 0), str(error.message or "")) from None
    except SSLError:
        text = (
            "Google's certificate is not trusted: name its authority by RECONCILER_PLATFORM_CA_FILE"
        )
        raise NotStarted(text) from None
    except (TransportError, RequestException, TimeoutError, OSError) as error:
        raise Unreachable(f"Cloud Run does not answer: {type(error).__name__}") from None
    except RefreshError as error:
        if error.retryable:
            raise Overloaded("Google's token service is busy") from None
        raise Denied(f"Google does not take our credentials; {_CREDENTIALS}") from None
    except GoogleAuthError as error:
        raise Denied(f"{_CREDENTIALS} ({type(error).__name__})") from None


def _meaning(status: int, words: str) -> Exception:
    words = " ".join(words.split()) or f"HTTP {status}"
    if status in _BUSY:
        return Overloaded(f"Cloud Run is busy: {words}")
    if status == 401:  # noqa: PLR2004 - of HTTP
        return Denied(f"Cloud Run does not take our credentials: {words}; {_CREDENTIALS}")
    kind = {400: NotLaunchable, 403: Denied, 404: Missing, 409: Taken, 412: Taken}.get(
        status, NotStarted
    )
    return kind(f"Cloud Run refuses: {words}")
