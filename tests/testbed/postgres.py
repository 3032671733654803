"""A PostgreSQL server of one's own, for a Prefect server to keep its data in."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.testbed import packages
from tests.testbed.ports import free_port

_USER = "postgres"


class Postgres:
    """See the module's text.

    Attributes:
        url: as Prefect's `PREFECT_API_DATABASE_CONNECTION_URL` wants it.
    """

    def __init__(self) -> None:
        packages.install("pg_ctlcluster", "postgresql")
        self._bin = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
        self._port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.url = f"postgresql+asyncpg://prefect@127.0.0.1:{self._port}/postgres"

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            shutil.chown(self._folder, _USER, _USER)  # the server refuses to run as root
        self._run("initdb", "--auth=trust", "--username=prefect", "--no-sync")
        self._control("start")
        return self

    def __exit__(self, *_: object) -> None:
        self._control("stop", "--mode=immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def crash_and_restart(self) -> None:
        """End all connections as a power cut would, and start again from the log."""
        self._control("restart", "--mode=immediate")

    def _control(self, *words: str) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c max_connections=200 -k ''"
        log = str(self._folder / "log")
        self._run("pg_ctl", *words, "--wait", f"--log={log}", f"--options={options}")

    def _run(self, program: str, *words: str) -> None:
        root = os.geteuid() == 0
        done = subprocess.run(
            [self._bin / program, f"--pgdata={self._folder / 'data'}", *words],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._folder,
            user=_USER if root else None,
            group=pwd.getpwnam(_USER).pw_gid if root else None,
            extra_groups=[] if root else None,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{done.stdout.decode()[-2000:]}")
