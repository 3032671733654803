"""Real Prefect servers for tests: started from a migrated database template, reset in milliseconds."""

import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.testbed.environments import cache_folder, locked, prefect_python
from tests.testbed.ports import free_port

VERSIONS = {2: "2.20.26", 3: "3.8.8"}
LABELS = {"2.20": 2, "3.x": 3}

_SERVER_PROGRAM = Path(__file__).with_name("prefect_process.py")
_START_SECONDS = 180  # two cores may be busy with other servers
_STOP_SECONDS = 15
# The server keeps the key that encrypts secrets in memory; its row must not go under its feet.
_KEPT_TABLES = {"alembic_version", "configuration"}
_SERVICES = {
    "PREFECT_API_SERVICES_SCHEDULER_ENABLED": "true",
    "PREFECT_API_SERVICES_SCHEDULER_LOOP_SECONDS": "15",
    "PREFECT_API_SERVICES_LATE_RUNS_ENABLED": "true",
    "PREFECT_API_SERVICES_FOREMAN_ENABLED": "true",  # marks silent workers OFFLINE
    "PREFECT_API_SERVICES_FOREMAN_LOOP_SECONDS": "2",
    "PREFECT_API_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_API_SERVICES_CANCELLATION_CLEANUP_ENABLED": "false",
    "PREFECT_API_SERVICES_FLOW_RUN_NOTIFICATIONS_ENABLED": "false",
    "PREFECT_API_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_API_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    "PREFECT_API_SERVICES_TASK_RUN_RECORDER_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_UI_ENABLED": "false",
    "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
}


class PrefectServer:
    """A Prefect server process with a database of its own.

    Attributes:
        major: 2 or 3.
        version: `2.20.26` or `3.8.8`.
        url: API root, `http://127.0.0.1:<port>/api`; the same after a restart.
        home: its PREFECT_HOME, a new folder.
        log: file with everything that it printed.
        auth_string: what `PREFECT_API_AUTH_STRING` must be, None without authentication (3.x only).
    """

    def __init__(
        self,
        major: int,
        *,
        auth_string: str | None = None,
        csrf: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.major = major
        self.version = VERSIONS[major]
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.home = Path(tempfile.mkdtemp(prefix=f"prefect{major}-"))
        self.log = self.home / "server.log"
        self.auth_string = auth_string
        self.database = self.home / "prefect.db"
        self._env = dict(env or {})
        if auth_string:
            self._env["PREFECT_SERVER_API_AUTH_STRING"] = auth_string
        if csrf:
            self._env["PREFECT_SERVER_CSRF_PROTECTION_ENABLED"] = "true"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the server itself."""
        assert self._process, "the server is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def python(self) -> Path:
        """An interpreter with this Prefect version, for flow runs."""
        return prefect_python(self.major)

    @property
    def client_env(self) -> dict[str, str]:
        """The variables that point any Prefect client, and `reconciler`, to this server."""
        auth = {"PREFECT_API_AUTH_STRING": self.auth_string} if self.auth_string else {}
        return {"PREFECT_API_URL": self.url, **auth}

    def client(self) -> httpx.Client:
        """Return a plain client whose paths count from the API root (`/flows/filter`).

        It keeps no connection: a busy server may close an idle one under a request.
        """
        auth = tuple(self.auth_string.split(":", 1)) if self.auth_string else None
        limits = httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(
            base_url=self.url, auth=auth, timeout=30, trust_env=False, limits=limits
        )

    def start(self) -> "PrefectServer":
        """Start and wait until it answers.

        Raises:
            RuntimeError: it ended or did not answer in time; the message ends with its log.
        """
        if not self.database.exists():
            shutil.copyfile(template(self.major), self.database)
        self._launch({"PREFECT_API_BLOCKS_REGISTER_ON_START": "false"})
        return self

    def stop(self) -> None:
        """End it with SIGTERM, or with SIGKILL if that takes too long."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        self._close()

    def kill(self) -> None:
        """End it with SIGKILL, as a power cut would."""
        if self._process:
            self._process.kill()
            self._process.wait()
        self._close()

    def restart(self) -> None:
        """Stop (if it still runs) and start on the same address and database."""
        self.stop()
        self.start()

    def save(self, file: Path) -> Path:
        """Copy the database of the running server, for `reset`; return the copy."""
        with closing(sqlite3.connect(self.database, timeout=60, isolation_level=None)) as database:
            database.execute("VACUUM INTO ?", (str(file),))
        return file

    def reset(self, saved: Path | None = None) -> None:
        """Put the database of the running server back to that of a fresh one, or to a saved one."""
        with closing(sqlite3.connect(self.database, timeout=60, isolation_level=None)) as database:
            database.execute("ATTACH ? AS template", (str(saved or template(self.major)),))
            database.execute("PRAGMA foreign_keys=OFF")
            database.execute("BEGIN IMMEDIATE")
            for table in _tables(database):
                database.execute(f'DELETE FROM main."{table}"')
                database.execute(f'INSERT INTO main."{table}" SELECT * FROM template."{table}"')
            database.execute("COMMIT")

    def discard(self) -> None:
        """Stop and remove its folder."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    def _launch(self, extra: Mapping[str, str]) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self.python), "-P", str(_SERVER_PROGRAM), str(self.port)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment(extra),
                cwd=self.home,
                start_new_session=True,
            )
        self._wait()

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "RECONCILER_", "COVERAGE_"))
        }
        own = {
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{self.database}",
        }
        return {**inherited, **_SERVICES, **own, **extra, **self._env}

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.1)
        self.kill()
        raise RuntimeError(f"Prefect {self.version} did not start:\n{self.log.read_text()[-4000:]}")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def _close(self) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.close()
        self._process = None


def template(major: int) -> Path:
    """Return a migrated database with Prefect's own block types in it, made once per version."""
    file = cache_folder() / f"prefect-{VERSIONS[major]}.db"
    with locked(f"template{major}"):
        if not file.exists():
            _make_template(major, file)
    return file


def _make_template(major: int, file: Path) -> None:
    server = PrefectServer(major)
    try:
        server._launch({})  # an empty database: it migrates and registers
        server.stop()
        with closing(sqlite3.connect(server.database)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            database.execute("PRAGMA journal_mode=DELETE")
            database.execute("VACUUM")
        part = file.with_suffix(f".{secrets.token_hex(4)}")
        shutil.copyfile(server.database, part)
        part.replace(file)
    finally:
        server.discard()


def _tables(database: sqlite3.Connection) -> list[str]:
    rows = database.execute(
        "SELECT name FROM template.sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%'"
    )
    return [name for (name,) in rows if name not in _KEPT_TABLES]
