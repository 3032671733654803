"""A real OpenSSH server for git, on a free port, with keys of its own.

    with GitSshServer(scratch_folder) as server:
        ... server.url(path_of_bare_repository), server.key, server.known_hosts ...

OpenSSH's server is installed with apt where it is missing and we may; where it can't be had,
starting fails, since nothing real is skipped.
"""

import getpass
import os
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.testbed.packages import install, program
from tests.testbed.ports import free_port

_START_SECONDS = 10.0


class GitSshServer:
    """Lets whoever holds `key` in as the present user.

    Attributes:
        key: the private key that is let in.
        known_hosts: the server's host key, as a client wants it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.key = folder / "user key"
        self.known_hosts = folder / "known hosts"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def url(self, path: Path) -> str:
        """Return the URL of a repository by its path."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    def new_key(self, name: str) -> Path:
        """Make a key pair."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
        return path

    def __enter__(self) -> Self:
        server = _sshd()
        self.port = free_port()
        host = self.new_key("host_key")
        self.new_key(self.key.name)
        (self.folder / "authorized").write_bytes(self.key.with_suffix(".pub").read_bytes())
        kind, word = host.with_suffix(".pub").read_text().split()[:2]
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {word}\n")
        (self.folder / "config").write_text(self._config(host))
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [server, "-D", "-e", "-f", str(self.folder / "config")], stderr=log
            )
        self._wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _config(self, host: Path) -> str:
        lines = (
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {host}",
            f"AuthorizedKeysFile {self.folder / 'authorized'}",
            f"PidFile {self.folder / 'pid'}",
            "StrictModes no",  # the scratch folder may be anybody's
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin yes",
        )
        return "\n".join(lines) + "\n"

    def _wait(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"sshd did not start: {(self.folder / 'log').read_text()}")


def _sshd() -> str:
    install("sshd", "openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where its unprivileged half lives
    return program("sshd")
