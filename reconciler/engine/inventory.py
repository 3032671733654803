"""The inventory in Prefect: 16 block documents that say what we own, without a single value."""

import json
import re
import secrets as random_secrets
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from hashlib import sha256
from sys import intern
from typing import Any

import anyio

from reconciler.api.client import Api, Repeat
from reconciler.engine.documents import INVENTORY_TYPE, Form, Record, Records
from reconciler.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    ForeignInventory,
    NotFound,
    Unsupported,
    UsageError,
)
from reconciler.model.fingerprint import Fingerprinter
from reconciler.model.inventory import Entry, FieldMark, Inventory, shard_of
from reconciler.model.keys import Key
from reconciler.model.near import did_you_mean
from reconciler.model.snapshot import Origin
from reconciler.model.values import ABSENT, Secret
from reconciler.runtime.together import together

_FORMAT = 1
_MASK = "********"
_KEY_BYTES = 32

_FORM = Form(
    slug=INVENTORY_TYPE,
    title="Reconciler Inventory",
    description="What a git repository owns here. Written by the reconciler; don't edit.",
    properties={
        "key": {"title": "Key", "type": "string", "format": "password", "writeOnly": True},
        "entries": {"title": "Entries", "type": "object"},
    },
    secret="key",  # noqa: S106 - a field's name
)


def record_name(inventory: str, suffix: str = "") -> str:
    """Return a block document name for an inventory: letters, digits and dashes, and unique."""
    plain = re.sub(r"[^a-z0-9]+", "-", inventory.lower()).strip("-")[:40]
    return "-".join(filter(None, (plain, sha256(inventory.encode()).hexdigest()[:8], suffix)))


@dataclass(frozen=True, slots=True)
class LoadedInventories:
    """What the inventories on the server say.

    Attributes:
        inventory: ours.
        foreign: ids that other inventories hold, with their names.
        stranger: why ours seems to belong to another repository or folder, None if it doesn't.
    """

    inventory: Inventory
    foreign: Mapping[str, str] = field(default_factory=dict)
    stranger: str | None = None


class InventoryStore:
    """Reads and writes one inventory. Writes only under the lease: the last writer wins a shard."""

    def __init__(self, api: Api, name: str, *, secrets: bool = True) -> None:
        """Make a store.

        Args:
            api: the server.
            name: `<name>` or `<name>.<environment>`.
            secrets: False under `--no-secrets`: do without the key where it may not be read.
        """
        self.name = name
        self._records = Records(api, _FORM)
        self._secrets = secrets
        self._key = random_secrets.token_bytes(_KEY_BYTES)
        self._origin = Origin()
        self.taken_over = False
        """Whether it was made from another tree; `claim` writes it in our name."""
        self._shards: dict[int, Record] = {}
        self._entries: dict[Key, Entry] = {}
        self._locks: dict[int, anyio.Lock] = {}

    @property
    def entries(self) -> Mapping[Key, Entry]:
        """The entries as last read or written."""
        return self._entries

    async def load(
        self, origin: Origin | None = None, *, take_over: bool = False
    ) -> LoadedInventories:
        """Read ours and everybody else's, in one request.

        Args:
            origin: whose tree it is that we reconcile; None to keep what the inventory says.
            take_over: accept an inventory that another repository or folder made.

        Raises:
            Forbidden: the key can't be read.
            ForeignInventory: another repository or folder made it.
            Unsupported: a newer version of this program wrote it.
            Conflict: somebody else wrote into one of them.
        """
        records = await self._records.all()
        ours = [record for record in records if record.data.get("inventory") == self.name]
        foreign = {
            entry.id: str(record.data.get("inventory"))
            for record in records
            if record.data.get("inventory") != self.name
            for entry in _entries(record)
            if entry.id is not None
        }
        inventory = self._take(ours)
        stranger = self._claimed(inventory, origin, take_over=take_over)
        return LoadedInventories(inventory, foreign, stranger)

    async def load_some(self, keys: Collection[Key], origin: Origin) -> Inventory | None:
        """Read only the documents that hold the entries of these keys.

        Returns:
            An inventory of the entries of these keys; None if none of the documents is there, or
            their key can't be read: that takes a whole `load`.

        Raises:
            ForeignInventory, Unsupported, Conflict: as `load`.
        """
        names = [record_name(self.name, f"{n:x}") for n in sorted({*map(shard_of, keys)})]
        found = await together(partial(self._records.named, name) for name in names)
        inventory = self._take([record for record in found if record is not None])
        if not inventory.exists:
            return None
        self._claimed(inventory, origin, take_over=False)
        entries = {key: inventory.entries[key] for key in keys if key in inventory.entries}
        return replace(inventory, entries=entries)

    def _take(self, ours: Sequence[Record]) -> Inventory:
        """Remember what documents of ours say."""
        with _reading(ours):
            self._shards = {int(record.data["shard"]): record for record in ours}
        self._entries = {entry.key: entry for record in ours for entry in _entries(record)}
        readable = self._take_key(ours)
        if ours and not readable:
            self._entries = {key: self._unmarked(e) for key, e in self._entries.items()}
        return Inventory(
            name=self.name,
            entries=dict(self._entries),
            fingerprinter=Fingerprinter(self._key),
            exists=bool(ours) and readable,
            roots=tuple(sorted({root for record in ours for root in record.data.get("roots", ())})),
            path=str(ours[0].data.get("path", "")) if ours else "",
        )

    def _take_key(self, ours: Sequence[Record]) -> bool:
        keys = [str(record.data.get("key", _MASK)) for record in ours]
        if not keys:
            return False
        if keys[0] != _MASK:
            with _reading(ours):
                self._key = b64decode(keys[0], validate=True)
            return True
        if self._secrets:
            raise Forbidden(
                f"the key of the inventory {self.name} can't be read",
                hint="give the API key the permission to see block secrets, or plan --no-secrets",
            )
        return False

    def _unmarked(self, entry: Entry) -> Entry:
        """Without the key fingerprints mean nothing; what was secret stays redacted."""
        absent = Fingerprinter(self._key).of(ABSENT)
        secret = [path for path, mark in entry.fields.items() if mark.secret]
        return replace(
            entry, fields={path: FieldMark(absent, absent, secret=True) for path in secret}
        )

    def _claimed(
        self, inventory: Inventory, origin: Origin | None, *, take_over: bool
    ) -> str | None:
        """Remember whose tree it is; say so if it seems to be another one than before."""
        same = Origin(inventory.roots, inventory.path)
        if origin is None:
            self._origin = same
            return None
        self._origin = origin
        self.taken_over = False
        known = bool(self._shards) and bool(inventory.roots)
        if known and origin.shallow and origin.path == same.path:
            self._origin = same  # it can't say whose it is: nothing speaks against it being ours
            return None
        if not known or (set(origin.roots) & set(same.roots) and origin.path == same.path):
            return None
        reason = (
            f"the inventory {self.name} was made from another "
            f"{'folder of the repository' if set(origin.roots) & set(same.roots) else 'repository'}"
        )
        if take_over:
            self.taken_over = True
            return reason
        raise ForeignInventory(
            reason,
            hint="give this tree a name of its own in reconciler.yaml, or use --take-over",
        )

    async def save(self, put: Iterable[Entry] = (), drop: Iterable[Key] = ()) -> None:
        """Write entries and take others out, each shard concerned once, all at the same time."""
        changes: dict[int, dict[Key, Entry | None]] = {}
        for key in drop:
            changes.setdefault(shard_of(key), {})[key] = None
        for entry in put:
            changes.setdefault(shard_of(entry.key), {})[entry.key] = entry
        # The first document of an inventory registers the block type: one at a time until then.
        first = None if self._shards or not changes else min(changes)
        if first is not None:
            await self._save_shard(first, changes.pop(first))
        await together(
            partial(self._save_shard, shard, changed) for shard, changed in changes.items()
        )

    async def claim(self) -> None:
        """Write every shard anew, so that it names the tree that took the inventory over."""
        await together(partial(self._save_shard, shard, {}) for shard in self._shards)

    async def remove(self) -> None:
        """Delete the documents that were read, once no entry is left in them."""
        await together(partial(self._records.delete, r) for r in self._shards.values())
        self._shards.clear()

    async def _save_shard(self, shard: int, changed: Mapping[Key, Entry | None]) -> None:
        async with self._locks.setdefault(shard, anyio.Lock()):
            entries = {key: e for key, e in self._entries.items() if shard_of(key) == shard}
            entries |= {key: entry for key, entry in changed.items() if entry is not None}
            for key, entry in changed.items():
                if entry is None:
                    entries.pop(key, None)
            await self._write(shard, self._document(shard, entries))
            for key, entry in changed.items():
                self._entries.pop(key, None)
                if entry is not None:
                    self._entries[key] = entry

    def _document(self, shard: int, entries: Mapping[Key, Entry]) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "inventory": self.name,
            "shard": shard,
            "roots": list(self._origin.roots),
            "path": self._origin.path,
            "key": Secret(b64encode(self._key).decode()),
            # Text, since Prefect drops empty mappings from the data of a PATCH.
            "entries": {str(key): _to_text(entry) for key, entry in sorted(entries.items())},
        }

    async def _write(self, shard: int, document: dict[str, Any]) -> None:
        known = self._shards.get(shard)
        if known is not None:
            try:
                await self._records.replace(known, document)
            except NotFound:
                del self._shards[shard]
            else:
                return
        name = record_name(self.name, f"{shard:x}")
        try:
            # We hold the lease: whatever bears the name is an earlier try of ours.
            self._shards[shard] = await self._records.create(name, document, repeat=Repeat.SAFE)
        except AlreadyExists:
            made = await self._records.named(name)
            if made is None:
                raise
            self._shards[shard] = made
            await self._records.replace(made, document)


async def forget(store: InventoryStore, key: Key) -> Entry:
    """Take a resource out of the inventory without deleting it. Needs the lease.

    Raises:
        UsageError: the inventory does not own it.
    """
    entry = store.entries.get(key)
    if entry is None:
        known = [str(owned) for owned in store.entries]
        raise UsageError(
            f"the inventory {store.name} does not own {key}",
            hint=did_you_mean(str(key), known, what="it owns"),
        )
    await store.save(drop=[key])
    return entry


async def secret_paths(api: Api) -> dict[str, frozenset[str]]:
    """Return which fields came from a secret, by object id, as all inventories of a server know.

    Raises:
        Conflict: somebody else wrote into an inventory.
        Unsupported: a newer version of this program wrote it.
    """
    found: dict[str, frozenset[str]] = {}
    for record in await Records(api, _FORM).all():
        for entry in _entries(record):
            secret = frozenset(path for path, mark in entry.fields.items() if mark.secret)
            if entry.id is not None and secret:
                found[entry.id] = found.get(entry.id, frozenset()) | secret
    return found


@contextmanager
def _reading(records: Sequence[Record]) -> Iterator[None]:
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


def _entries(record: Record) -> list[Entry]:
    with _reading([record]):
        if int(record.data.get("format", 0)) > _FORMAT:
            raise Unsupported(
                f"the inventory {record.data.get('inventory')} was written by a newer version",
                hint="upgrade the reconciler",
            )
        found = record.data.get("entries") or {}
        return [_from_text(Key.parse(key), text) for key, text in found.items()]


def _to_text(entry: Entry) -> str:
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
