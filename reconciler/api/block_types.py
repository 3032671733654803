"""Block types together with the schema that their new documents get: one object, as people see it."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from reconciler.api.blocks import newest
from reconciler.api.client import Api, Repeat
from reconciler.errors import NotFound

SCHEMA, CAPABILITIES, VERSIONS = "block_schema", "capabilities", "versions"


async def block_types(api: Api) -> AsyncIterator[dict[str, Any]]:
    """Yield every block type, its newest schema with it; `versions` counts the schemas."""
    schemas: dict[str, list[dict[str, Any]]] = {}
    async for page in api.pages("/block_schemas/filter"):
        for row in page:
            schemas.setdefault(row["block_type_id"], []).append(row)
    seen: set[str] = set()
    async for page in api.pages("/block_types/filter"):
        for row in page:
            if row["id"] not in seen:
                seen.add(row["id"])
                yield _whole(row, schemas.get(row["id"], []))


async def block_type(api: Api, path: str) -> dict[str, Any] | None:
    """Return the block type at a path, its newest schema with it; None if its GET answers 404."""
    try:
        row = await api.get(path)
    except NotFound:
        return None
    body = {"block_schemas": {"block_type_id": {"any_": [row["id"]]}}}
    return _whole(
        row, [one async for page in api.pages("/block_schemas/filter", body) for one in page]
    )


async def add_schema(
    api: Api, type_id: str, fields: Mapping[str, Any], capabilities: list[str], version: int
) -> None:
    """Give a type a newer schema. Older ones stay, with the documents that were written by them.

    Args:
        api: the client.
        type_id: of the block type.
        fields: the schema, in Prefect's format.
        capabilities: what Prefect may use such blocks for.
        version: one that the type has not had: with an old one and the same fields the server
            answers 200 and gives the old schema back (facts).
    """
    body = {
        "block_type_id": type_id,
        "fields": fields,
        "capabilities": capabilities,
        "version": str(version),
    }
    await api.post("/block_schemas/", body, repeat=Repeat.SAFE)


def _whole(row: Mapping[str, Any], schemas: list[dict[str, Any]]) -> dict[str, Any]:
    best = newest(schemas) if schemas else {}
    return {
        **row,
        SCHEMA: best.get("fields") or {},
        CAPABILITIES: best.get("capabilities") or [],
        VERSIONS: len(schemas),
    }
