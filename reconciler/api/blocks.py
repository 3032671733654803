"""Block types, block schemas and block documents: thin typed calls."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from reconciler.api.client import Api, Repeat
from reconciler.errors import AlreadyExists, Conflict, NotFound

_NOT_VERSIONED = "non-versioned"
"""Version of schemas that a server made only because another schema contains them."""


@dataclass(frozen=True, slots=True)
class BlockType:
    """A block type on the server."""

    id: str
    slug: str
    name: str


@dataclass(frozen=True, slots=True)
class BlockSchema:
    """A block schema on the server.

    Attributes:
        id: of the schema.
        checksum: as the server stored it.
        version: of the package that registered it.
        fields: the schema itself, in Prefect's format.
    """

    id: str
    checksum: str
    version: str
    fields: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """What a live reference points at."""

    id: str
    slug: str
    name: str
    anonymous: bool


@dataclass(frozen=True, slots=True)
class BlockDocument:
    """A block document.

    Attributes:
        id: of the document.
        slug: of its block type.
        name: unique within the type.
        data: without the referenced documents' data. Holds secrets in the open: never printed.
        references: by field.
        schema: `fields` of the schema it was written with.
        anonymous: made by Prefect for a deployment's inline infrastructure.
        created: by the server's clock.
        updated: by the server's clock.
    """

    id: str
    slug: str
    name: str
    data: Mapping[str, Any] = field(repr=False)
    references: Mapping[str, Target]
    schema: Mapping[str, Any] = field(repr=False)
    anonymous: bool
    created: datetime | None
    updated: datetime | None


@dataclass(frozen=True, slots=True)
class NewBlockType:
    """A block type to register, with its schema.

    Attributes:
        slug: of the type; how it is identified.
        name: for people; unique too.
        description: for people.
        capabilities: what Prefect may use such blocks for.
        version: of the schema.
        fields: the schema in Prefect's format.
    """

    slug: str
    name: str
    description: str
    capabilities: Sequence[str]
    version: str
    fields: Mapping[str, Any]


async def find_type(api: Api, slug: str) -> BlockType | None:
    """Return the block type of a slug, None if the server lacks it."""
    try:
        found = await api.get(f"/block_types/slug/{slug}")
    except NotFound:
        return None
    return BlockType(found["id"], found["slug"], found["name"])


async def best_schema(api: Api, type_id: str) -> BlockSchema | None:
    """Return the schema that new documents of a type get: the newest that a package registered."""
    body = {"block_schemas": {"block_type_id": {"any_": [type_id]}}}
    found = [row async for page in api.pages("/block_schemas/filter", body) for row in page]
    if not found:
        return None
    return _schema(newest(found))


def newest(schemas: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the schema that counts for new documents, of those of one type as the API has them."""
    return max(schemas, key=lambda row: (row["version"] != _NOT_VERSIONED, row["created"]))


async def register_type(api: Api, new: NewBlockType) -> BlockType:
    """Create a block type, or return the one that somebody else has just created.

    Raises:
        Conflict: another type has the name.
    """
    body = {"name": new.name, "slug": new.slug, "description": new.description}
    try:
        return await create_type(api, body, repeat=Repeat.SAFE)
    except AlreadyExists:  # by another writer, or by an earlier try whose answer was lost
        found = await find_type(api, new.slug)
        if found is None:
            raise
        return found


async def create_type(
    api: Api, body: Mapping[str, Any], *, repeat: Repeat = Repeat.NEVER
) -> BlockType:
    """Create a block type.

    Args:
        api: the client.
        body: `slug`, `name`, and what else the API takes.
        repeat: whether to send it again where the answer is lost.

    Raises:
        AlreadyExists: the slug is taken.
        Conflict: another type has the name. The server answers 201 and that type's body (facts).
    """
    made = await api.post("/block_types/", body, repeat=repeat)
    if made["slug"] != body["slug"]:
        raise Conflict(
            f"the server has a block type named {made['name']!r} with the slug {made['slug']!r}",
            hint="delete that type, or choose another name",
        )
    return BlockType(made["id"], made["slug"], made["name"])


async def register_schema(api: Api, type_id: str, new: NewBlockType) -> BlockSchema:
    """Create a schema; the same again gives the one that exists."""
    body = {
        "block_type_id": type_id,
        "fields": new.fields,
        "capabilities": list(new.capabilities),
        "version": new.version,
    }
    return _schema(await api.post("/block_schemas/", body, repeat=Repeat.SAFE))


async def documents(
    api: Api, *, secrets: bool, anonymous: bool = False
) -> AsyncIterator[BlockDocument]:
    """Yield every block document, to the last page.

    Args:
        api: the client.
        secrets: read secret values; else they come as eight stars.
        anonymous: yield those that Prefect made for inline infrastructure too.
    """
    body = {
        "block_documents": {"is_anonymous": None if anonymous else {"eq_": False}},
        "include_secrets": secrets,
        "sort": "BLOCK_TYPE_AND_NAME_ASC",
    }
    async for page in api.pages("/block_documents/filter", body):
        for row in page:
            yield _document(row)


async def read_document(api: Api, id_: str, *, secrets: bool) -> BlockDocument | None:
    """Return a document by id; None if its GET answers 404."""
    return await _read(api, f"/block_documents/{id_}", secrets=secrets)


async def find_document(api: Api, slug: str, name: str, *, secrets: bool) -> BlockDocument | None:
    """Return a document by slug and name; None if its GET answers 404."""
    path = f"/block_types/slug/{slug}/block_documents/name/{name}"
    return await _read(api, path, secrets=secrets)


async def create_document(
    api: Api, name: str, data: Mapping[str, Any], *, type_id: str, schema_id: str
) -> str:
    """Create a document and return its id.

    Args:
        api: the client.
        name: of the document.
        data: may hold `Secret`; references as `reference()` makes them.
        type_id: of its block type.
        schema_id: of its schema.

    Raises:
        AlreadyExists: the type has a document of that name.
    """
    body = {"name": name, "data": data, "block_type_id": type_id, "block_schema_id": schema_id}
    made = await api.post("/block_documents/", body)
    return str(made["id"])


async def update_document(api: Api, id_: str, data: Mapping[str, Any]) -> None:
    """Replace a document's data, whole.

    Never merged: merging drops every reference that the payload lacks (facts/prefect-api.md).
    """
    await api.patch(f"/block_documents/{id_}", {"data": data, "merge_existing_data": False})


async def delete_document(api: Api, id_: str) -> None:
    """Delete a document; one already gone is fine."""
    try:
        await api.delete(f"/block_documents/{id_}")
    except NotFound:
        return


def reference(id_: str) -> dict[str, Any]:
    """Return the form in which a payload refers to another document."""
    return {"$ref": {"block_document_id": id_}}


async def _read(api: Api, path: str, *, secrets: bool) -> BlockDocument | None:
    try:
        return _document(await api.get(path, {"include_secrets": str(secrets).lower()}))
    except NotFound:
        return None


def _schema(row: Mapping[str, Any]) -> BlockSchema:
    return BlockSchema(row["id"], row["checksum"], row["version"], row["fields"])


def _document(row: Mapping[str, Any]) -> BlockDocument:
    references = row.get("block_document_references") or {}
    return BlockDocument(
        id=row["id"],
        slug=row["block_type"]["slug"],
        name=row["name"],
        data={name: value for name, value in row["data"].items() if name not in references},
        references={name: _target(entry["block_document"]) for name, entry in references.items()},
        schema=row["block_schema"]["fields"],
        anonymous=row["is_anonymous"],
        created=_time(row.get("created")),
        updated=_time(row.get("updated")),
    )


def _target(row: Mapping[str, Any]) -> Target:
    return Target(row["id"], row["block_type"]["slug"], row["name"], row["is_anonymous"])


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
