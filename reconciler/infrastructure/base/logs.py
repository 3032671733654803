"""Output of flow runs: a file for each run, its tail, and the stream of new lines."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from reconciler.infrastructure.base.contract import Output

_TAIL_BYTES = 64 * 1024


class Logs:
    """The log files of one agent, kept when the infrastructure is gone.

    Local processes write to their files themselves (`open`): output outlives the agent, and a slow
    reader never blocks a flow. What other platforms tell is added line by line (`add`).
    """

    def __init__(self, directory: Path, output: Output) -> None:
        self._directory = directory
        self._output = output
        self._followed: dict[str, int] = {}

    def open(self, run_id: str) -> BinaryIO:
        """Open a run's log for its process to append to; readable by this user only."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(
            self._path(run_id), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        return os.fdopen(descriptor, "ab", buffering=0)

    def add(self, run_id: str, lines: Sequence[str], *, stream: bool = False) -> None:
        """Add lines that a platform told to a run's log, and stream them if wished."""
        if not lines:
            return
        with self.open(run_id) as log:
            log.write("".join(f"{line}\n" for line in lines).encode())
        for line in lines if stream else ():
            self._output(run_id, line)

    def follow(self, run_id: str) -> None:
        """Stream what is written from now on."""
        self._followed[run_id] = self._path(run_id).stat().st_size

    def forget(self, run_id: str) -> None:
        """Stream a run no more."""
        self._followed.pop(run_id, None)

    def pass_on(self) -> None:
        """Stream the whole new lines of all followed runs."""
        for run_id in tuple(self._followed):
            self._stream(run_id, rest=False)

    def flush(self, run_id: str) -> None:
        """Stream all that is left of an ended run, an unfinished line included."""
        if run_id in self._followed:
            self._stream(run_id, rest=True)

    def tail(self, run_id: str, lines: int) -> tuple[str, ...]:
        """Return the last lines of a log, oldest first; empty if there is none."""
        try:
            with self._path(run_id).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except OSError:
            return ()
        return tuple(text.splitlines()[-lines:])

    def _stream(self, run_id: str, *, rest: bool) -> None:
        try:
            with self._path(run_id).open("rb") as file:
                file.seek(self._followed[run_id])
                new = file.read()
        except OSError:
            self.forget(run_id)
            return
        whole = new if rest else new[: new.rfind(b"\n") + 1]
        self._followed[run_id] += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            self._output(run_id, line)

    def _path(self, run_id: str) -> Path:
        return self._directory / f"{run_id}.log"
