"""Our own records in Prefect: block documents of a type of our own (inventory, lease)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from reconciler.api.client import Api, Repeat
from reconciler.errors import AlreadyExists, Conflict, NotFound

INVENTORY_TYPE = "reconciler-inventory"
LEASE_TYPE = "reconciler-lease"

_VERSION = "1"
_LISTING = "/block_documents/filter"


@dataclass(frozen=True, slots=True)
class Form:
    """A block type of ours.

    Attributes:
        slug: of the type.
        title: for people, in Prefect's pages.
        description: likewise.
        properties: JSON Schema of each field of `data`.
        secret: the field that Prefect masks, if any.
    """

    slug: str
    title: str
    description: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    secret: str | None = None

    def schema(self) -> dict[str, Any]:
        """Return the block schema's `fields`, as Prefect keeps them."""
        return {
            "title": self.title,
            "description": self.description,
            "type": "object",
            "properties": dict(self.properties),
            "block_type_slug": self.slug,
            "secret_fields": [self.secret] if self.secret else [],
            "block_schema_references": {},
        }


@dataclass(frozen=True, slots=True)
class Record:
    """A block document of ours.

    Attributes:
        id: the server's.
        name: unique within its type.
        data: what we wrote.
        updated: by the server's clock; every PATCH moves it (facts: the data is encrypted anew).
        type_ids: ids of its block type and schema, which spare the next create two requests.
    """

    id: str
    name: str
    data: Mapping[str, Any] = field(repr=False)
    updated: datetime
    type_ids: tuple[str, str]

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Record":
        """Read the API's answer."""
        return cls(
            id=answer["id"],
            name=answer["name"],
            data=answer.get("data") or {},
            updated=datetime.fromisoformat(answer["updated"]),
            type_ids=(answer["block_type_id"], answer["block_schema_id"]),
        )


def foresee(api: Api, slug: str) -> None:
    """Ask ahead for the documents of one type of ours."""
    api.foresee(_LISTING, _all_of(slug))


def _all_of(slug: str) -> dict[str, Any]:
    return {"block_types": {"slug": {"any_": [slug]}}, "include_secrets": True}


class Records:
    """The block documents of one type of ours."""

    def __init__(self, api: Api, form: Form) -> None:
        self._api = api
        self._form = form
        self._known = api.type_ids

    async def all(self) -> Sequence[Record]:
        """Return every document of the type, secrets included; none where the type is unknown."""
        found = [
            Record.of(answer)
            async for page in self._api.pages(_LISTING, _all_of(self._form.slug))
            for answer in page
        ]
        if found:
            self._known[self._form.slug] = found[0].type_ids
        return found

    async def named(self, name: str) -> Record | None:
        """Return a document by its name, None if there is none."""
        path = f"/block_types/slug/{self._form.slug}/block_documents/name/{name}"
        try:
            answer = await self._api.get(path, {"include_secrets": True})
        except NotFound:
            return None
        return Record.of(answer)

    async def exists(self, record: Record) -> bool:
        """Tell whether a document is still there, by its id."""
        try:
            await self._api.get(f"/block_documents/{record.id}")
        except NotFound:
            return False
        return True

    async def create(
        self, name: str, data: Mapping[str, Any], *, repeat: Repeat = Repeat.NEVER
    ) -> Record:
        """Create a document. Names are unique: a repeated POST never makes a second one.

        Args:
            name: of the document.
            data: of the document.
            repeat: `SAFE` where `AlreadyExists` may as well mean our own, earlier try.

        Raises:
            AlreadyExists: the name is taken.
            AnswerLost: it may have been made, or not; look for it by name.
        """
        ids = self._known.get(self._form.slug)
        if ids is None:
            ids = self._known[self._form.slug] = await self._register()
        body = {
            "name": name,
            "data": data,
            "block_type_id": ids[0],
            "block_schema_id": ids[1],
        }
        return Record.of(await self._api.post("/block_documents/", body, repeat=repeat))

    def forget(self) -> None:
        """Look the type up again before the next document is made: somebody may have deleted it."""
        self._known.pop(self._form.slug, None)

    async def replace(
        self, record: Record, data: Mapping[str, Any], *, urgent: bool = False
    ) -> None:
        """Write a document's data, whole.

        Args:
            record: the document.
            data: its new data.
            urgent: don't wait behind other requests.

        Raises:
            NotFound: it was deleted.
        """
        body = {"data": data, "merge_existing_data": False}
        await self._api.patch(f"/block_documents/{record.id}", body, urgent=urgent)

    async def delete(self, record: Record) -> None:
        """Delete a document by id; one that is gone is fine."""
        try:
            await self._api.delete(f"/block_documents/{record.id}")
        except NotFound:
            return

    async def _register(self) -> tuple[str, str]:
        """Make sure that the server knows the type; return the ids of type and schema."""
        known = await self._type()
        if known is not None:
            schemas = await self._api.post(
                "/block_schemas/filter",
                {"block_schemas": {"block_type_id": {"any_": [known["id"]]}}},
                repeat=Repeat.SAFE,
            )
            if schemas:
                return known["id"], schemas[0]["id"]
        type_id = (known or await self._create_type())["id"]
        body = {
            "block_type_id": type_id,
            "fields": self._form.schema(),
            "capabilities": [],
            "version": _VERSION,
        }
        schema = await self._api.post("/block_schemas/", body, repeat=Repeat.SAFE)
        return type_id, schema["id"]

    async def _type(self) -> Any:
        try:
            return await self._api.get(f"/block_types/slug/{self._form.slug}")
        except NotFound:
            return None

    async def _create_type(self) -> Any:
        body = {
            "name": self._form.title,
            "slug": self._form.slug,
            "description": self._form.description,
        }
        try:
            made = await self._api.post("/block_types/", body, repeat=Repeat.SAFE)
        except AlreadyExists:  # by another writer, or by an earlier try whose answer was lost
            made = await self._type()
        # A type of that name and another slug is answered as if it were ours (facts).
        if made is None or made["slug"] != self._form.slug:
            raise Conflict(
                f"the block type {self._form.slug} can't be registered",
                hint=f"rename the block type called {self._form.title!r}",
            )
        return made
