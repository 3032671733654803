"""The inventory: what we own and applied last, without a single value."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from reconciler.model.fingerprint import Fingerprinter
from reconciler.model.keys import Key

SHARDS = 16
"""Block documents of an inventory of many entries (DESIGN 6.3)."""

FEW = 100
"""Up to so many entries (0.1 MB) are in one block document: most applies then write one, not sixteen."""


def shard_of(key: Key, shards: int = SHARDS) -> int:
    """Return the number of the block document that holds a key's entry, of so many documents."""
    return hashlib.sha256(str(key).encode()).digest()[0] % shards


def shards_for(entries: int, shards: int = 1) -> int:
    """Return the documents for so many entries, given those that they are in: never fewer again."""
    return max(shards, SHARDS if entries > FEW else 1)


@dataclass(frozen=True, slots=True)
class FieldMark:
    """Fingerprints of one leaf path, and whether it ever held a secret.

    Attributes:
        desired: of the value as resolved from git at the last apply.
        live: of the value as read back after the last apply.
        secret: redact it for ever.
        heals: server times (ISO 8601) of the latest heals, newest last, three at most.
    """

    desired: str
    live: str
    secret: bool = False
    heals: tuple[str, ...] = ()

    @staticmethod
    @lru_cache(maxsize=4096)
    def of(
        desired: str, live: str, *, secret: bool = False, heals: tuple[str, ...] = ()
    ) -> "FieldMark":
        """Return a mark; thousands of equal ones share their memory."""
        return FieldMark(desired, live, secret, heals)


@dataclass(frozen=True, slots=True)
class Entry:
    """An owned resource.

    Attributes:
        key: its name.
        id: the server's id; None for an intent (written before a create).
        since: when the entry was written, by the server's clock.
        commit: revision that last changed it.
        file: the manifest file that declared it.
        prune: False: never delete it.
        suspend: it was suspended when last seen.
        fields: by leaf path, those that git declared last.
        notes: what an update under way takes away and has yet to give back, in the kind's own words
            (JSON, without secrets); None if no update is under way.
    """

    key: Key
    id: str | None
    since: datetime
    commit: str
    file: str = ""
    prune: bool = True
    suspend: bool = False
    fields: Mapping[str, FieldMark] = field(default_factory=dict)
    notes: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """All entries of one inventory (name + environment).

    Attributes:
        name: `<name>` or `<name>.<environment>`.
        entries: by key.
        fingerprinter: keyed with the inventory's own secret; a throw-away key where there is none yet.
        exists: whether it is on the server yet.
        roots: root commits it was made from.
        path: folder in the repository it was made from.
        shards: block documents that its entries are spread over.
    """

    name: str
    entries: Mapping[Key, Entry]
    fingerprinter: Fingerprinter
    exists: bool = True
    roots: tuple[str, ...] = ()
    path: str = ""
    shards: int = 1
