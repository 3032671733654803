"""Entries of the inventory as they are written in block documents."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from sys import intern
from typing import Any

from reconciler.engine.documents import Record
from reconciler.errors import Conflict, Unsupported
from reconciler.model.inventory import Entry, FieldMark
from reconciler.model.keys import Key

FORMAT = 2
"""Since 2 a small inventory is in one document; in 1 it was spread over sixteen from the start."""


@contextmanager
def reading(records: Sequence[Record]) -> Iterator[None]:
    """Name the documents, should they not be as we write them. Their values are not told.

    Nothing may be guessed then, whoever's they are: what they own is what others must leave alone.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError):
        names = ", ".join(record.name for record in records)
        raise Conflict(
            f"the inventory in the block document(s) {names} can't be read: somebody edited it",
            hint="restore it, or delete the document: what is live and equal is adopted again",
        ) from None


def require_readable(record: Record) -> None:
    """Refuse what only a newer version of this program can read.

    Raises:
        Conflict: somebody else wrote into it.
        Unsupported: a newer version of this program wrote it.
    """
    with reading([record]):
        if int(record.data.get("format", 0)) > FORMAT:
            raise Unsupported(
                f"the inventory {record.data.get('inventory')} was written by a newer version",
                hint="upgrade the reconciler",
            )


def entries_of(record: Record) -> list[Entry]:
    """Read a document's entries.

    Raises:
        Conflict: somebody else wrote into it.
        Unsupported: a newer version of this program wrote it.
    """
    require_readable(record)
    with reading([record]):
        found = record.data.get("entries") or {}
        return [_from_text(Key.parse(key), text) for key, text in found.items()]


def to_text(entry: Entry) -> str:
    """Write an entry, but for its key."""
    plain: dict[str, Any] = {
        "id": entry.id,
        "since": entry.since.isoformat(),
        "commit": entry.commit,
        "file": entry.file,
        "prune": entry.prune,
        "suspend": entry.suspend,
        "fields": {
            path: [mark.desired, mark.live, int(mark.secret), *mark.heals]
            for path, mark in entry.fields.items()
        },
    }
    if entry.notes is not None:
        plain["notes"] = entry.notes
    return json.dumps(plain, separators=(",", ":"))


def _from_text(key: Key, text: str) -> Entry:
    plain = json.loads(text)
    return Entry(
        key=key,
        id=plain["id"],
        since=datetime.fromisoformat(plain["since"]),
        commit=plain["commit"],
        file=plain["file"],
        prune=plain["prune"],
        suspend=plain["suspend"],
        fields={
            intern(path): FieldMark.of(
                intern(desired), intern(live), secret=bool(secret), heals=tuple(heals)
            )
            for path, (desired, live, secret, *heals) in plain["fields"].items()
        },
        notes=plain.get("notes"),
    )
