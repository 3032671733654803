"""What a resource kind is: one Protocol, implemented by one file each, listed in `KINDS`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

import anyio

from reconciler.api.client import Api
from reconciler.model.desired import Declaration, Document, Parsed
from reconciler.model.exported import Exported
from reconciler.model.keys import Key
from reconciler.model.live import Evidence, Live
from reconciler.model.problems import Problem
from reconciler.model.rules import KindRules
from reconciler.model.server import ServerFacts
from reconciler.model.values import Fields, Ref, UnknownRef, Value

T = TypeVar("T")
Lot = tuple[Key, ...]


@dataclass
class Index:
    """Keys and ids of live objects, both ways. Listings fill it, kinds read it."""

    ids: dict[Key, str] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)

    def add(self, key: Key, id_: str) -> None:
        """Remember an object."""
        self.ids[key] = id_
        self.keys[id_] = key

    def drop(self, key: Key) -> None:
        """Forget an object."""
        id_ = self.ids.pop(key, "")
        if self.keys.get(id_) == key:  # otherwise it bears another name by now
            del self.keys[id_]

    def ref(self, id_: str | None) -> Ref | UnknownRef | None:
        """Return the reference that a live id stands for."""
        if id_ is None:
            return None
        key = self.keys.get(id_)
        return UnknownRef(id_) if key is None else Ref(key)


@dataclass
class Session:
    """One reconciliation's view of a server, handed to every call of a kind.

    Attributes:
        api: the client.
        index: keys and ids seen so far; blocks are listed before deployments.
        secrets: read secret values of live objects (False under `--no-secrets`).
        cache: for what a kind looks up once a session (block types by slug, …).
        block_schemas: schemas of the block types that the tree declares, by slug; known before
            the blocks of these types are looked at.
        veiled: paths of fields that an export must not show, by object id: they came from a
            secret, though the API shows them (an `env` that holds one, say).
        coming: what is about to be created, each with its neighbours (see `kinds.base.vacancy`).
    """

    api: Api
    index: Index = field(default_factory=Index)
    secrets: bool = True
    cache: dict[Any, Any] = field(default_factory=dict)
    block_schemas: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    veiled: Mapping[str, frozenset[str]] = field(default_factory=dict)
    coming: dict[Key, Lot] = field(default_factory=dict)

    @property
    def facts(self) -> ServerFacts:
        """The server."""
        return self.api.facts

    async def once(self, place: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Look something up once a session; who asks meanwhile waits for the same answer.

        Args:
            place: in `cache`, where the answer is kept.
            ask: the look-up; its failure is raised and not kept, so the next one asks again.
        """
        lock: anyio.Lock = self.cache.setdefault(("lock", place), anyio.Lock())
        async with lock:
            if place not in self.cache:
                self.cache[place] = await ask()
            found: T = self.cache[place]
            return found


@dataclass(frozen=True, slots=True)
class Written:
    """What a create gave.

    Attributes:
        id: of the object.
        existed: an upsert answered 200 on what we meant as a create: a conflict.
    """

    id: str
    existed: bool = False


Notes = Mapping[str, Any]
"""What a kind must know after a write: JSON, without secrets, since the inventory keeps it."""


class Kind(Protocol):
    """A resource kind.

    A kind turns documents into declarations (offline), brings declarations and live objects
    into one normal form for the server's version, and carries out single writes. It knows
    nothing of plans, inventories or other kinds.
    """

    name: ClassVar[str]
    """The `kind:` word of manifests, `Deployment`."""
    prefix: ClassVar[str]
    """The first word of its keys, `deployment`."""
    example: ClassVar[str]
    """A short manifest, for `reconciler explain`."""

    def recognises(self, document: Document) -> bool:
        """Tell from the shape whether a document without `kind` is one of these."""
        ...

    def parse(self, document: Document) -> Parsed:
        """Check a document offline and turn it into declarations; report every problem at once.

        Pure. Unknown keys are problems with a near name as the hint. The `reconcile:` mapping
        has been taken off already and is added by the caller.
        """
        ...

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema (2020-12) of the document, for editors."""
        ...

    def rules(self, facts: ServerFacts) -> KindRules:
        """Return the field table for a server."""
        ...

    async def conform(
        self, declaration: Declaration, session: Session
    ) -> tuple[Declaration, tuple[Problem, ...]]:
        """Bring a declaration into the server's form, and say what the server can't hold.

        Normalises as `Live.fields` are normalised. A field that this version lacks is a problem
        that names the version. Block types that we ship are registered at apply time, not here.
        """
        ...

    def align(self, fields: Fields, live: Fields) -> Fields:
        """Fill what git left open from the live side, so that nothing differs for ever.

        Both are normalised. For example a schedule without `anchor_date` takes the live one.
        Most kinds return `fields` as they are.
        """
        ...

    def listing(self, session: Session) -> AsyncIterator[Live]:
        """Yield every live object of the kind; ends normally only if every page was read."""
        ...

    async def find(self, session: Session, key: Key) -> Live | None:
        """Look an object up by its key. None means that its own GET answered 404."""
        ...

    async def read(self, session: Session, key: Key, id_: str) -> Live | None:
        """Read an object by id. None means that its own GET answered 404."""
        ...

    async def create(self, session: Session, key: Key, fields: Fields) -> Written:
        """Create an object; `fields` are all that git declares (`Change.target`)."""
        ...

    async def before_update(self, session: Session, live: Live, fields: Fields) -> Notes | None:
        """Note what `update` is about to take away, for `after_update`; None if nothing.

        The inventory keeps the notes from before the write until `after_update` has succeeded.
        """
        ...

    async def after_update(self, session: Session, live: Live, notes: Notes) -> None:
        """Give back what `update` took away.

        Also called by a later apply if this one dies in between, whether or not the write got
        through. So it must do no harm when repeated.

        Args:
            session: with the server.
            live: with the fields after the write.
            notes: from `before_update`.
        """
        ...

    async def update(self, session: Session, live: Live, fields: Fields) -> None:
        """Write the given top-level fields, whole; everything else keeps its live value."""
        ...

    async def rename(self, session: Session, live: Live, former: Key) -> None:
        """Give an object the name of `live.key`; the server knows it as `former`.

        Asked only for keys that `KindRules.renames` matches.
        """
        ...

    async def delete(self, session: Session, live: Live) -> None:
        """Delete by id; an object already gone is fine."""
        ...

    async def evidence(self, session: Session, key: Key, id_: str) -> Evidence:
        """Find out, by the object's own GET and counts, what deleting it would take along."""
        ...

    async def describe(self, session: Session, live: Live) -> Exported | None:
        """Write a live object as a document; None for what nobody would declare."""
        ...


class NotRenamed:
    """For kinds whose objects the API can't rename."""

    async def rename(self, session: Session, live: Live, former: Key) -> None:  # noqa: ARG002
        """Never asked."""
        raise AssertionError(f"{former} can't be renamed")


def outgoing(value: Value, index: Index) -> Any:
    """Turn a value tree into the body of a request: references become ids.

    Secrets stay as they are: the client reveals them at the request, and takes them out of what
    the server says of it.

    Raises:
        KeyError: a reference has no id yet (the plan's order makes that a bug).
    """
    if isinstance(value, Ref):
        return index.ids[value.key]
    if isinstance(value, UnknownRef):
        return value.id
    if isinstance(value, Mapping):
        return {key: outgoing(inner, index) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [outgoing(inner, index) for inner in value]
    return value
