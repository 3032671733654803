"""What was: applies, drifts and flow runs, in one SQLite file of the state directory."""

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from reconciler.errors import HistoryUnavailable
from reconciler.model.status import (
    ApplyRecord,
    ApplyResult,
    DriftEnd,
    DriftRecord,
    RunRecord,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS applies (
    id INTEGER PRIMARY KEY, revision TEXT, started REAL NOT NULL, ended REAL NOT NULL,
    result TEXT NOT NULL, summary TEXT NOT NULL, error TEXT, report TEXT
);
CREATE TABLE IF NOT EXISTS drifts (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, path TEXT NOT NULL, cause TEXT NOT NULL,
    policy TEXT NOT NULL, before TEXT, after TEXT, first_seen REAL NOT NULL,
    ended REAL, "end" TEXT
);
CREATE INDEX IF NOT EXISTS drifts_by_end ON drifts (ended);
CREATE INDEX IF NOT EXISTS drifts_by_key ON drifts (key);
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, infrastructure TEXT NOT NULL, pid TEXT NOT NULL,
    state TEXT NOT NULL, text TEXT NOT NULL, since REAL NOT NULL, ended REAL
);
CREATE INDEX IF NOT EXISTS runs_by_time ON runs (since);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_RETENTION = timedelta(days=90)
_MOST = 20_000
"""Rows of a table, at most: a field that somebody fights over must not fill the disk."""
_FILE = "history.sqlite"

Sight = tuple[str, str]
"""Key and field path of a drift."""


class History:
    """See the module's text. Its methods block for milliseconds; threads may share it."""

    def __init__(self, folder: Path, retention: timedelta = _RETENTION) -> None:
        """Open it, and make it where there is none.

        Raises:
            HistoryUnavailable: it can't be used.
        """
        self._retention = retention
        self._lock = threading.Lock()
        self.path = folder / _FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, check_same_thread=False, timeout=10)
        except (OSError, sqlite3.Error) as error:
            raise _unavailable(self.path, error) from None
        with self._writing() as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    # -- applies -----------------------------------------------------------------------------

    def add_apply(self, record: ApplyRecord, report: Mapping[str, Any] | None) -> int:
        """Note a reconciliation; return its number."""
        with self._writing() as db:
            row = db.execute(
                "INSERT INTO applies (revision, started, ended, result, summary, error, report)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    record.revision,
                    record.started.timestamp(),
                    record.ended.timestamp(),
                    record.result.value,
                    json.dumps(record.summary),
                    record.error,
                    None if report is None else json.dumps(report),
                ),
            )
            return row.lastrowid or 0

    def applies(self, limit: int = 50, before: int | None = None) -> tuple[ApplyRecord, ...]:
        """Return the newest first, those below a number if one is given."""
        rows = self._read(
            "SELECT id, revision, started, ended, result, summary, error FROM applies"
            " WHERE id < ? ORDER BY id DESC LIMIT ?",
            (before or 1 << 62, limit),
        )
        return tuple(_apply(row) for row in rows)

    def apply(self, number: int) -> tuple[ApplyRecord, dict[str, Any] | None] | None:
        """Return one, with its report as JSON; None if there is none of that number."""
        rows = self._read(
            "SELECT id, revision, started, ended, result, summary, error, report FROM applies"
            " WHERE id = ?",
            (number,),
        )
        if not rows:
            return None
        report = rows[0][7]
        return _apply(rows[0]), None if report is None else json.loads(report)

    # -- drifts ------------------------------------------------------------------------------

    def open_drifts(self) -> dict[Sight, DriftRecord]:
        """Return the drifts that last, by key and field path."""
        return {(one.key, one.path): one for one in self.drifts(ended=False, limit=_MOST)}

    def begin_drift(self, drift: DriftRecord) -> DriftRecord:
        """Note a drift that was seen now, ended or not; return it with its number."""
        with self._writing() as db:
            row = db.execute(
                "INSERT INTO drifts (key, path, cause, policy, before, after, first_seen, ended,"
                ' "end") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
                (
                    drift.key,
                    drift.path,
                    drift.cause,
                    drift.policy,
                    json.dumps(drift.before),
                    json.dumps(drift.after),
                    drift.first_seen.timestamp(),
                    None if drift.ended is None else drift.ended.timestamp(),
                    drift.end,
                ),
            )
            return _drift(db.execute(f"{_DRIFTS} WHERE id = ?", (row.lastrowid,)).fetchone())

    def end_drift(self, number: int, ended: datetime, end: DriftEnd) -> None:
        """Note the end of a drift."""
        with self._writing() as db:
            db.execute(
                'UPDATE drifts SET ended = ?, "end" = ? WHERE id = ?',
                (ended.timestamp(), end.value, number),
            )

    def drifts(
        self, *, ended: bool | None = None, key: str | None = None, limit: int = 200
    ) -> tuple[DriftRecord, ...]:
        """Return the newest first.

        Args:
            ended: only such as have ended, or have not; None for all.
            key: of one resource only.
            limit: how many at most.
        """
        clauses, values = ["1"], []
        if ended is not None:
            clauses.append("ended IS NOT NULL" if ended else "ended IS NULL")
        if key is not None:
            clauses.append("key = ?")
            values.append(key)
        rows = self._read(
            f"{_DRIFTS} WHERE {' AND '.join(clauses)} ORDER BY id DESC LIMIT ?",
            (*values, limit),
        )
        return tuple(_drift(row) for row in rows)

    # -- flow runs ---------------------------------------------------------------------------

    def put_run(self, run: RunRecord) -> None:
        """Note a flow run as it is now."""
        with self._writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run.id,
                    run.name,
                    run.infrastructure,
                    run.pid,
                    run.state,
                    run.text,
                    run.since.timestamp(),
                    None if run.ended is None else run.ended.timestamp(),
                ),
            )

    def runs(self, limit: int = 100) -> tuple[RunRecord, ...]:
        """Return the newest first."""
        rows = self._read("SELECT * FROM runs ORDER BY since DESC LIMIT ?", (limit,))
        return tuple(_run(row) for row in rows)

    # -- notes -------------------------------------------------------------------------------

    def note(self, name: str, value: str) -> None:
        """Keep a word across restarts."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))

    def noted(self, name: str) -> str | None:
        """Return such a word."""
        rows = self._read("SELECT value FROM notes WHERE name = ?", (name,))
        return rows[0][0] if rows else None

    def prune(self, now: datetime) -> None:
        """Drop what is older than the retention, and the oldest of what is too much."""
        oldest = (now - self._retention).timestamp()
        with self._writing() as db:
            db.execute("DELETE FROM applies WHERE ended < ?", (oldest,))
            db.execute("DELETE FROM drifts WHERE ended < ?", (oldest,))
            db.execute("DELETE FROM runs WHERE since < ?", (oldest,))
            for table, order in (("applies", "id"), ("drifts", "id"), ("runs", "since")):
                db.execute(
                    f"DELETE FROM {table} WHERE rowid IN"  # noqa: S608 - constants
                    f" (SELECT rowid FROM {table} ORDER BY {order} DESC LIMIT -1 OFFSET ?)",
                    (_MOST,),
                )

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock, self._db:
                yield self._db
        except sqlite3.Error as error:
            raise _unavailable(self.path, error) from None

    def _read(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise _unavailable(self.path, error) from None


_DRIFTS = 'SELECT id, key, path, cause, policy, before, after, first_seen, ended, "end" FROM drifts'


def _apply(row: tuple[Any, ...]) -> ApplyRecord:
    number, revision, started, ended, result, summary, error, *_ = row
    return ApplyRecord(
        number,
        revision,
        _when(started),
        _when(ended),
        ApplyResult(result),
        json.loads(summary),
        error,
    )


def _drift(row: tuple[Any, ...]) -> DriftRecord:
    number, key, path, cause, policy, before, after, first_seen, ended, end = row
    return DriftRecord(
        number,
        key,
        path,
        cause,
        policy,
        json.loads(before),
        json.loads(after),
        _when(first_seen),
        _maybe(ended),
        None if end is None else DriftEnd(end),
    )


def _run(row: tuple[Any, ...]) -> RunRecord:
    id_, name, infrastructure, pid, state, text, since, ended = row
    return RunRecord(id_, name, infrastructure, pid, state, text, _when(since), _maybe(ended))


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _maybe(seconds: float | None) -> datetime | None:
    return None if seconds is None else _when(seconds)


def _unavailable(path: Path, error: Exception) -> HistoryUnavailable:
    return HistoryUnavailable(
        f"the history {path} can't be used: {error}",
        hint="make room on the disk, or name another folder with RECONCILER_STATE_DIR",
    )
