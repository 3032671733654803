"""One ssh connection for all that git asks of a remote, so that keys are exchanged once.

Source: ssh_config(5), ControlMaster. Tried on 2 slow cores with OpenSSH 9.2: `git ls-remote` takes
0.5 s with a connection of its own and 0.2 s over one that stands.
"""

import subprocess
import weakref
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

_PERSIST = 90
"""Seconds for which an unused connection stands; longer than the usual poll interval.

A process that is killed leaves it behind for no longer.
"""
_EXIT_SECONDS = 5.0
_LONGEST = 80
"""Bytes of a socket's path: macOS allows 103, and ssh adds 17 while it makes one."""


class SharedConnections:
    """The connections of one remote, for as long as this object lives."""

    def __init__(self, around: Path | None = None) -> None:
        """Make it.

        Args:
            around: folder for the folder of the sockets; that for temporary files by default.
        """
        self._around = around
        self._folder: Path | None = None

    def options(self, key: Path, known_hosts: Path | None) -> tuple[str, ...]:
        """Return the options by which ssh shares a connection; none where it can't.

        Both files have a part in the connection's name: once one of them changes, a new connection
        is made, and the host is looked at again.
        """
        if known_hosts is None:
            return ()  # which files ssh takes then is its own affair
        try:
            name = sha256(f"{_state(key)} {_state(known_hosts)}".encode()).hexdigest()[:12]
            if self._folder is None:
                self._folder = Path(mkdtemp(prefix="reconciler-ssh-", dir=self._around))
                weakref.finalize(self, _close, self._folder)
        except OSError:
            return ()
        socket = str(self._folder / name)
        if len(socket.encode()) > _LONGEST:
            return ()  # ssh would refuse to start
        return (
            "-oControlMaster=auto",
            f"-oControlPath={quoted(socket)}",
            f"-oControlPersist={_PERSIST}",
        )


def quoted(path: str | Path) -> str:
    """Quote a path for an ssh option: `%` starts a token there and blanks split."""
    return '"' + str(path).replace("%", "%%") + '"'


def _state(file: Path) -> str:
    found = file.stat()
    return f"{file} {found.st_ino} {found.st_size} {found.st_mtime_ns}"


def _close(folder: Path) -> None:
    """End the connections and forget them."""
    for socket in folder.glob("*"):
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(  # noqa: S603 - our own socket
                ["ssh", "-F", "none", f"-oControlPath={quoted(socket)}", "-O", "exit", "any"],  # noqa: S607
                timeout=_EXIT_SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
    rmtree(folder, ignore_errors=True)
