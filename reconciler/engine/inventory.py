"""The inventory in Prefect: block documents that say what we own, without a single value.

Sixteen, by a hash of the key, so that a change among thousands writes a sixteenth; but one as long as
there are few entries. When it grows it is spread once: the first document says so before the others
are written, and keeps all entries until they are. Whoever reads it in between sees every one.
"""

import re
import secrets as random_secrets
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar

import anyio

from reconciler.api.client import Api, Repeat
from reconciler.engine.documents import INVENTORY_TYPE, Form, Record, Records
from reconciler.engine.entries import FORMAT, entries_of, reading, require_readable, to_text
from reconciler.errors import (
    AlreadyExists,
    Forbidden,
    ForeignInventory,
    NotFound,
    UsageError,
)
from reconciler.model.fingerprint import Fingerprinter
from reconciler.model.inventory import (
    SHARDS,
    Entry,
    FieldMark,
    Inventory,
    shard_of,
    shards_for,
)
from reconciler.model.keys import Key
from reconciler.model.near import did_you_mean
from reconciler.model.snapshot import Origin
from reconciler.model.values import Secret
from reconciler.runtime.together import together

_MASK = "********"
_T = TypeVar("_T")
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
        self._documents: dict[int, Record] = {}
        self._entries: dict[Key, Entry] = {}
        self._shards = 1
        self._moving = False  # some entries are not yet in the document where they belong
        self._lock = anyio.Lock()

    @property
    def entries(self) -> Mapping[Key, Entry]:
        """The entries as last read or written."""
        return self._entries

    @property
    def shards(self) -> int:
        """How many documents they are spread over, as last read or written."""
        return self._shards

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
            for entry in entries_of(record)
            if entry.id is not None
        }
        inventory = self._take(ours)
        stranger = self._claimed(inventory, origin, take_over=take_over)
        return LoadedInventories(inventory, foreign, stranger)

    async def load_some(
        self, keys: Collection[Key], origin: Origin, shards: int
    ) -> Inventory | None:
        """Read only the documents that hold the entries of these keys.

        Args:
            keys: of the entries.
            origin: whose tree it is that we reconcile.
            shards: how many documents the inventory was spread over when it was loaded last.

        Returns:
            An inventory of the entries of these keys; None if none of the documents is there, they
            have been spread since, or their key can't be read: that takes a whole `load`.

        Raises:
            ForeignInventory, Unsupported, Conflict: as `load`.
        """
        numbers = sorted({shard_of(key, shards) for key in keys})
        names = [record_name(self.name, f"{n:x}") for n in numbers]
        found = await together(partial(self._records.named, name) for name in names)
        inventory = self._take([record for record in found if record is not None])
        if not inventory.exists or inventory.shards != shards or self._moving:
            return None
        self._claimed(inventory, origin, take_over=False)
        entries = {key: inventory.entries[key] for key in keys if key in inventory.entries}
        return replace(inventory, entries=entries)

    def _take(self, ours: Sequence[Record]) -> Inventory:
        """Remember what documents of ours say."""
        for record in ours:
            require_readable(record)
        with reading(ours):
            self._documents = {int(record.data["shard"]): record for record in ours}
            self._shards = max(map(_shards, ours), default=1)
        strays: dict[Key, Entry] = {}
        self._entries = {}
        for shard, record in self._documents.items():
            for entry in entries_of(record):
                home = shard_of(entry.key, self._shards) == shard
                (self._entries if home else strays)[entry.key] = entry
        self._moving = bool(strays)
        self._entries = strays | self._entries  # where it belongs it is the newer one
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
            shards=self._shards,
        )

    def _take_key(self, ours: Sequence[Record]) -> bool:
        keys = [str(record.data.get("key", _MASK)) for record in ours]
        if not keys:
            return False
        if keys[0] != _MASK:
            with reading(ours):
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
        absent = Fingerprinter(self._key).absent
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
        known = bool(self._documents) and bool(inventory.roots)
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
        """Write entries and take others out, each document concerned once, all at the same time."""
        changes: dict[Key, Entry | None] = dict.fromkeys(drop) | {entry.key: entry for entry in put}
        if changes:
            await self._save(changes)

    async def claim(self) -> None:
        """Write every document anew, so that it names the tree that took the inventory over."""
        await self._save({}, everything=True)

    async def _save(self, changes: Mapping[Key, Entry | None], *, everything: bool = False) -> None:
        async with self._lock:
            after = {k: e for k, e in {**self._entries, **changes}.items() if e is not None}
            shards = shards_for(len(after), self._shards)
            if self._documents and shards != self._shards:
                await self._begin_to_spread(shards)
            self._shards = shards
            changed, parts = self._by_shard(changes), self._by_shard(after)
            for group in self._order(self._documents if everything else changed, parts):
                await together(
                    partial(self._put, shard, parts.get(shard, {}), changed.get(shard, {}))
                    for shard in sorted(group)
                )
            self._moving = False

    def _order(self, concerned: Collection[int], parts: Iterable[int]) -> Sequence[set[int]]:
        """Return which documents to write, one group after the other."""
        if self._moving:  # the first one has what the others lack: it is cut when they have it
            return [{*parts, *self._documents} - {0}, {0}]
        if not self._documents:  # the first write registers the block type
            first = {min(concerned)}
            return [first, set(concerned) - first]
        return [set(concerned)]

    async def _begin_to_spread(self, shards: int) -> None:
        """Say that entries are looked for in so many documents; until they are there, all are here."""
        await self._write(0, self._document(0, self._entries, shards))
        self._moving = True

    def _by_shard(self, entries: Mapping[Key, _T]) -> dict[int, dict[Key, _T]]:
        found: dict[int, dict[Key, _T]] = {}
        for key, entry in entries.items():
            found.setdefault(shard_of(key, self._shards), {})[key] = entry
        return found

    async def _put(
        self, shard: int, entries: Mapping[Key, Entry], changed: Mapping[Key, Entry | None]
    ) -> None:
        await self._write(shard, self._document(shard, entries, self._shards))
        for key, entry in changed.items():
            self._entries.pop(key, None)
            if entry is not None:
                self._entries[key] = entry

    async def remove(self) -> None:
        """Delete the documents that were read, once no entry is left in them."""
        await together(partial(self._records.delete, r) for r in self._documents.values())
        self._documents.clear()
        self._shards, self._moving = 1, False

    def _document(self, shard: int, entries: Mapping[Key, Entry], shards: int) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "inventory": self.name,
            "shard": shard,
            "shards": shards,
            "roots": list(self._origin.roots),
            "path": self._origin.path,
            "key": Secret(b64encode(self._key).decode()),
            # Text, since Prefect drops empty mappings from the data of a PATCH.
            "entries": {str(key): to_text(entry) for key, entry in sorted(entries.items())},
        }

    async def _write(self, shard: int, document: dict[str, Any]) -> None:
        known = self._documents.get(shard)
        if known is not None:
            try:
                await self._records.replace(known, document)
            except NotFound:
                del self._documents[shard]
            else:
                return
        name = record_name(self.name, f"{shard:x}")
        try:
            # We hold the lease: whatever bears the name is an earlier try of ours.
            self._documents[shard] = await self._records.create(name, document, repeat=Repeat.SAFE)
        except AlreadyExists:
            made = await self._records.named(name)
            if made is None:
                raise
            self._documents[shard] = made
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
        for entry in entries_of(record):
            secret = frozenset(path for path, mark in entry.fields.items() if mark.secret)
            if entry.id is not None and secret:
                found[entry.id] = found.get(entry.id, frozenset()) | secret
    return found


def _shards(record: Record) -> int:
    """Return how many documents an inventory is spread over, by one of them."""
    shards = int(record.data.get("shards", SHARDS))  # not said in format 1, which had sixteen
    if shards not in (1, SHARDS):
        raise ValueError(shards)
    return shards
