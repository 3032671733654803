"""Marks on disk: what an agent of this host launched, readable by the next one.

A mark outlives its agent. It is written before the word to start is given, so that 'never started'
and 'died early' can be told apart (DESIGN 7.7).
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Record:
    """One launch.

    Attributes:
        run_id: the flow run.
        token: the launch token.
        pid: process id of the session leader.
        birth: when it was born (`processes.birth`); tells it from a later process with that id.
        started: the word to start was given, or was about to be.
        folder: the run's own working directory, to be removed; None if the block names one.
    """

    run_id: str
    token: str
    pid: int
    birth: str
    started: bool = False
    folder: str | None = None


class Records:
    """The marks of one host and user, a file for each launch."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, record: Record) -> None:
        """Write a mark, durably and whole or not at all."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(record.token)
        draft = path.with_suffix(f".{os.getpid()}.draft")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(asdict(record), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def read(self, token: str) -> Record | None:
        """Read the mark of a launch; None if there is none that can be read."""
        return self._load(self._path(token))

    def remove(self, token: str) -> None:
        """Remove the mark of a launch."""
        self._path(token).unlink(missing_ok=True)

    def older_than(self, seconds: float, now: float) -> Iterator[Record]:
        """Yield the marks that were written more than so many seconds before `now` (Unix time)."""
        for path in self._directory.glob("*.json"):
            record = self._load(path)
            if record is not None and now - path.stat().st_mtime > seconds:
                yield record

    def _path(self, token: str) -> Path:
        return self._directory / f"{token}.json"

    @staticmethod
    def _load(path: Path) -> Record | None:
        try:
            return Record(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
