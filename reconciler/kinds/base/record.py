"""What kinds of plain records share: documents by a model, objects by id under one path of the API."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote

from reconciler.api.client import Api
from reconciler.errors import NotFound
from reconciler.kinds.base import Notes, Session, Written
from reconciler.model.desired import Declaration, Document, Parsed
from reconciler.model.exported import Exported
from reconciler.model.keys import Key
from reconciler.model.live import Evidence, Live
from reconciler.model.problems import Problem
from reconciler.model.records import (
    Record,
    declared,
    field_rules,
    normal,
    read_record,
    record_schema,
)
from reconciler.model.rules import KindRules
from reconciler.model.server import ServerFacts
from reconciler.model.values import Fields

Raw = Mapping[str, Any]


class RecordKind(ABC):
    """See `reconciler.kinds.base.Kind` for what each method promises.

    A kind says its fields, how its key is made of a document and of an object, and where the API
    has its objects. What differs from that it overrides.
    """

    name: ClassVar[str]
    prefix: ClassVar[str]
    example: ClassVar[str]
    fields: ClassVar[type[Record]]
    names: ClassVar[Mapping[str, str]] = {"name": "Its name."}
    """Keys of a document that name the resource, with a description each."""
    path: ClassVar[str]
    """Of the API, `/variables`."""
    renames: ClassVar[str] = ""
    """Glob over the keys that the API can rename."""

    @abstractmethod
    def key_of(self, document: Document) -> Key | Problem:
        """Return the key that a document names, or what is wrong with it."""

    @abstractmethod
    def key_of_live(self, raw: Raw) -> Key | None:
        """Return the key of an object; None for one that nobody declares."""

    # -- documents -----------------------------------------------------------------------------

    def recognises(self, document: Document) -> bool:  # noqa: ARG002 - they all look alike
        """Never: its documents say their `kind`."""
        return False

    def parse(self, document: Document) -> Parsed:
        """Check offline and declare."""
        fields, problems = read_record(document, self.name, self.fields, self.names)
        key = self.key_of(document)
        if isinstance(key, Problem):
            return Parsed(problems=(key, *problems))
        return Parsed(problems=problems) if problems else declared(key, fields, document)

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the document."""
        return record_schema(self.name, self.fields, self.names)

    def rules(self, facts: ServerFacts) -> KindRules:  # noqa: ARG002 - the same on every version
        """Return the field table."""
        return KindRules(field_rules(self.fields), renames=self.renames)

    async def conform(
        self, declaration: Declaration, session: Session
    ) -> tuple[Declaration, tuple[Problem, ...]]:
        """Normalise."""
        problems = tuple(self.misfits(declaration, session.facts))
        fields = normal(self.fields, declaration.fields)
        return replace(declaration, fields=fields), problems

    def misfits(self, declaration: Declaration, facts: ServerFacts) -> tuple[Problem, ...]:  # noqa: ARG002
        """Return what this server can't hold."""
        return ()

    def align(self, fields: Fields, live: Fields) -> Fields:  # noqa: ARG002 - the Protocol's
        """Nothing is left open."""
        return fields

    # -- objects -------------------------------------------------------------------------------

    def live(self, session: Session, key: Key, raw: Raw) -> Live:
        """Return an object in the normal form."""
        session.index.add(key, raw["id"])
        known = {name: raw[name] for name in self.fields.model_fields if name in raw}
        return Live(
            key=key,
            id=raw["id"],
            fields=normal(self.fields, known),
            created=_moment(raw.get("created")),
            updated=_moment(raw.get("updated")),
            raw=raw,
        )

    async def listing(self, session: Session) -> AsyncIterator[Live]:
        """Yield every object."""
        seen: set[str] = set()
        async for page in session.api.pages(f"{self.path}/filter"):
            for raw in page:
                key = self.key_of_live(raw)
                if key is not None and raw["id"] not in seen:
                    seen.add(raw["id"])
                    yield self.live(session, key, raw)

    async def find(self, session: Session, key: Key) -> Live | None:
        """Look up by key."""
        raw = await get(session.api, self.path_of(key))
        return None if raw is None else self.live(session, key, raw)

    def path_of(self, key: Key) -> str:
        """Return where the API has an object of that key; most are found by name."""
        return f"{self.path}/name/{quote(key.name, safe='')}"

    async def read(self, session: Session, key: Key, id_: str) -> Live | None:
        """Read by id."""
        raw = await get(session.api, f"{self.path}/{id_}")
        # Whatever name it has now: somebody may have renamed it.
        return None if raw is None else self.live(session, self.key_of_live(raw) or key, raw)

    def body(self, key: Key, fields: Fields) -> dict[str, Any]:
        """Return the body of a create."""
        return {"name": key.name, **fields}

    async def create(self, session: Session, key: Key, fields: Fields) -> Written:
        """Create an object."""
        raw = await session.api.post(f"{self.path}/", self.body(key, fields))
        session.index.add(key, raw["id"])
        return Written(raw["id"])

    async def before_update(self, session: Session, live: Live, fields: Fields) -> Notes | None:  # noqa: ARG002
        """Note nothing: a write takes nothing away."""
        return None

    async def after_update(  # noqa: B027 - most have nothing to do
        self, session: Session, live: Live, notes: Notes
    ) -> None:
        """Do nothing: a write takes nothing away."""

    async def update(self, session: Session, live: Live, fields: Fields) -> None:
        """Write the given fields."""
        await session.api.patch(f"{self.path}/{live.id}", dict(fields))

    async def rename(self, session: Session, live: Live, former: Key) -> None:  # noqa: ARG002
        """Write its name, which the API takes as a field."""
        name = self.named(live.key)["name"]
        await session.api.patch(f"{self.path}/{live.id}", {"name": name})

    async def delete(self, session: Session, live: Live) -> None:
        """Delete by id."""
        await session.api.delete(f"{self.path}/{live.id}")
        session.index.drop(live.key)

    async def evidence(self, session: Session, key: Key, id_: str) -> Evidence:  # noqa: ARG002
        """See whether it is there; nothing goes with it."""
        return Evidence(present=await get(session.api, f"{self.path}/{id_}") is not None)

    async def describe(self, session: Session, live: Live) -> Exported | None:  # noqa: ARG002
        """Say its names, and every field that isn't default."""
        rules = field_rules(self.fields)
        told = {
            name: value
            for name, value in live.fields.items()
            if self.fields.model_fields[name].is_required()
            or (value is not None and value != rules[name].default)
        }
        return Exported(live.key, {"kind": self.name, **self.named(live.key), **told})

    def named(self, key: Key) -> dict[str, str]:
        """Return the keys of a document that name a resource."""
        return dict(zip(self.names, key.parts, strict=True))


async def get(api: Api, path: str) -> dict[str, Any] | None:
    """GET an object; None if its own GET answers 404."""
    try:
        found: dict[str, Any] = await api.get(path)
    except NotFound:
        return None
    return found


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
