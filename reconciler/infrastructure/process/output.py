"""What local processes print, streamed in bounded pieces."""

import os
from pathlib import Path
from typing import BinaryIO

from reconciler.infrastructure.base.contract import Output
from reconciler.infrastructure.base.logs import Logs

_AT_ONCE = 1024 * 1024
"""Bytes of a run's output that are streamed in one go; what is written faster is left out there."""
_LONGEST_LINE = 64 * 1024
"""Bytes of a line that are waited for; binary output may never end one."""


class ProcessLogs(Logs):
    """Log files that processes write themselves, as fast and as oddly as they like."""

    def __init__(self, directory: Path, output: Output) -> None:
        super().__init__(directory, output)
        self._print = output

    def _stream(self, run_id: str, *, rest: bool) -> None:
        """Stream new lines. The file is never read whole: it may grow by gigabytes."""
        try:
            with self._path(run_id).open("rb") as file:
                new = self._new(file, run_id)
        except OSError:
            self.forget(run_id)
            return
        whole = new if rest else new[: new.rfind(b"\n") + 1]
        if not whole and len(new) > _LONGEST_LINE:
            whole = new
        self._followed[run_id] += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            self._print(run_id, line)

    def _new(self, file: BinaryIO, run_id: str) -> bytes:
        size = file.seek(0, os.SEEK_END)
        skipped = size - self._followed[run_id] - _AT_ONCE
        if skipped > 0:
            self._print(run_id, f"… {skipped:,} bytes are left out here; the run's log has them")
            self._followed[run_id] += skipped
        file.seek(self._followed[run_id])
        return file.read(_AT_ONCE)
