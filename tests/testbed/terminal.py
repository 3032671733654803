"""A command at a terminal: what it prints there, and what somebody types."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tests.testbed.cli import COMMAND, Cli


def _take_terminal() -> None:
    """Make stdin the terminal of the new session, so that Ctrl-C there is a signal to it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it


class Terminal:
    """`reconciler` on a pseudo-terminal of its own, as a context manager.

    Attributes:
        seen: everything that it printed, escape sequences included.
    """

    def __init__(
        self, cli: Cli, *args: object, env: Mapping[str, str] | None = None, columns: int = 120
    ) -> None:
        self.seen = ""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._process = subprocess.Popen(
            [*COMMAND, *map(str, args)],
            env=cli.environment({"TERM": "xterm-256color", **(env or {})}),
            cwd=cli.cwd or cli.home,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - takes no lock
        )
        os.close(theirs)

    @property
    def text(self) -> str:
        """What a reader sees: without escape sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.seen).replace("\r\n", "\n")

    def wait_for(self, pattern: str, seconds: float = 90) -> None:
        """Wait until a regular expression is found in the text."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, f"no {pattern!r} in:\n{self.text}"
            assert self._read(), f"ended without {pattern!r}:\n{self.text}"

    def enter(self, text: str) -> None:
        """Type something."""
        os.write(self._ours, text.encode())

    def wait(self, seconds: float = 90) -> int:
        """Read until the end; return the exit code."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, f"still runs:\n{self.text}"
        return self._process.wait(seconds)

    def _read(self) -> bool:
        """Read what is there, waiting for a moment; False at the end."""
        if not select.select([self._ours], [], [], 0.5)[0]:
            return True
        try:
            some = os.read(self._ours, 65536)
        except OSError:  # what Linux says when the other side has closed
            return False
        self.seen += some.decode(errors="replace")
        return bool(some)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._ours)
