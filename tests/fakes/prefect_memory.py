"""A Prefect in memory: block types, schemas and documents, and plain objects for fake kinds.

`MemoryPrefect` is the server, `MemoryApi` one client of it (the interface of
`reconciler.api.client.Api`). Failures are injected by number or by a function of the request.
"""

import copy
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import anyio

from reconciler.api.client import Repeat, RequestCounts
from reconciler.errors import AlreadyExists, AnswerLost, NotFound, Overloaded, Rejected
from reconciler.model.server import ServerFacts, Version
from reconciler.model.values import Secret


class Killed(BaseException):
    """The process died: nothing catches this."""


@dataclass
class Request:
    number: int
    method: str
    path: str
    body: Any = None

    @property
    def reading(self) -> bool:
        return self.method == "GET" or self.path.endswith("/filter")


@dataclass
class MemoryPrefect:
    """The server's memory.

    Attributes:
        objects: of fake kinds, by id.
        documents: block documents, by id.
        history: ended flow runs that a delete would take along, by object id.
        active: active flow runs, by object id.
        log: every request that arrived.
        drops: top-level fields that the server never keeps.
    """

    objects: dict[str, dict] = field(default_factory=dict)
    types: dict[str, dict] = field(default_factory=dict)
    schemas: dict[str, dict] = field(default_factory=dict)
    documents: dict[str, dict] = field(default_factory=dict)
    history: Counter = field(default_factory=Counter)
    active: Counter = field(default_factory=Counter)
    log: list[Request] = field(default_factory=list)
    drops: set[str] = field(default_factory=set)
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    ids: int = 0

    def tick(self, seconds: float = 1.0) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    def new_id(self) -> str:
        self.ids += 1
        return str(UUID(int=self.ids))

    def text(self) -> str:
        """Everything in the block documents that is no masked field, as text."""
        return json.dumps(
            [{**d, "data": {**d["data"], "key": ""}} for d in self.documents.values()]
        )

    def records(self, slug: str) -> list[dict]:
        return [d for d in self.documents.values() if d["block_type_slug"] == slug]

    # What arrives

    def handle(self, request: Request) -> Any:
        self.log.append(request)
        self.tick(0.01)
        parts = request.path.strip("/").split("/")
        area = getattr(self, f"_{request.method.lower()}_{parts[0]}")
        return copy.deepcopy(area(parts[1:], request.body))

    def _get_block_types(self, parts: list[str], _body: Any) -> Any:
        found = self.types.get(parts[1])
        if found is None:
            raise NotFound(f"no block type {parts[1]}")
        if len(parts) == 2:
            return found
        for document in self.documents.values():
            if (document["block_type_slug"], document["name"]) == (parts[1], parts[4]):
                return document
        raise NotFound(f"no document {parts[4]}")

    def _post_block_types(self, _parts: list[str], body: Any) -> Any:
        if body["slug"] in self.types:
            raise AlreadyExists("block type exists")
        return self.types.setdefault(body["slug"], {"id": self.new_id(), **body})

    def _post_block_schemas(self, parts: list[str], body: Any) -> Any:
        if parts == ["filter"]:
            wanted = body["block_schemas"]["block_type_id"]["any_"]
            return [schema for id_, schema in self.schemas.items() if id_ in wanted]
        return self.schemas.setdefault(body["block_type_id"], {"id": self.new_id(), **body})

    def _post_block_documents(self, parts: list[str], body: Any) -> Any:
        if parts == ["filter"]:
            slugs = body["block_types"]["slug"]["any_"]
            found = [d for d in self.documents.values() if d["block_type_slug"] in slugs]
            return found[body["offset"] : body["offset"] + body["limit"]]
        slug = next(s for s, t in self.types.items() if t["id"] == body["block_type_id"])
        for document in self.documents.values():
            if (document["block_type_slug"], document["name"]) == (slug, body["name"]):
                raise AlreadyExists("Block already exists")
        id_, now = self.new_id(), self.now.isoformat()
        document = {"id": id_, "block_type_slug": slug, "created": now, "updated": now, **body}
        self.documents[id_] = document
        return document

    def _get_block_documents(self, parts: list[str], _body: Any) -> Any:
        document = self.documents.get(parts[0])
        if document is None:
            raise NotFound("no such document")
        return document

    def _patch_block_documents(self, parts: list[str], body: Any) -> Any:
        document = self.documents.get(parts[0])
        if document is None:
            raise NotFound("no such document")
        assert body["merge_existing_data"] is False
        document["data"] = _without_empty(body["data"])
        document["updated"] = self.now.isoformat()

    def _delete_block_documents(self, parts: list[str], _body: Any) -> Any:
        if self.documents.pop(parts[0], None) is None:
            raise NotFound("no such document")

    # Objects of fake kinds: /things/…

    def _post_things(self, parts: list[str], body: Any) -> Any:
        if parts == ["filter"]:
            found = sorted(
                (o for o in self.objects.values() if o["kind"] == body["kind"]),
                key=lambda o: o["id"],
            )
            return found[body["offset"] : body["offset"] + body["limit"]]
        if parts[1:] == ["refill"]:
            self._get_things(parts[:1], None)["emptied"] = False
            return None
        if self.named(body["key"]) is not None:
            raise AlreadyExists(f"{body['key']} exists")
        self._require_targets(body["fields"])
        return self.put(body["key"], body["fields"])

    def put(self, key: str, fields: dict) -> dict:
        """Create an object behind git's back."""
        kept = {name: value for name, value in fields.items() if name not in self.drops}
        made = {
            "id": self.new_id(),
            "kind": key.split("/", maxsplit=1)[0],
            "key": key,
            "created": self.now.isoformat(),
            "fields": kept,
        }
        self.objects[made["id"]] = made
        return made

    def named(self, key: str) -> dict | None:
        return next((o for o in self.objects.values() if o["key"] == key), None)

    def _require_targets(self, fields: dict) -> None:
        for target in _targets(fields):
            if target not in self.objects:
                raise Rejected("no such target", status=409)

    def _get_things(self, parts: list[str], body: Any) -> Any:
        found = self.named("/".join(parts[1:])) if parts[0] == "named" else None
        found = found or self.objects.get(parts[0])
        if found is None:
            raise NotFound("no such thing")
        return found

    def _patch_things(self, parts: list[str], body: Any) -> Any:
        found = self.objects.get(parts[0])
        if found is None:
            raise NotFound("no such thing")
        self._require_targets(body)
        found["fields"] |= {n: v for n, v in body.items() if n not in self.drops}
        found["emptied"] = found["kind"] == "deployment"  # a write deletes its scheduled runs

    def _delete_things(self, parts: list[str], _body: Any) -> Any:
        if self.objects.pop(parts[0], None) is None:
            raise NotFound("no such thing")
        for other in self.referrers(parts[0]):  # the cascade
            self.objects.pop(other["id"], None)

    def _post_usage(self, parts: list[str], body: Any) -> Any:
        return {
            "referrers": self.referrers(body["id"]),
            "history": self.history[body["id"]],
            "active": self.active[body["id"]],
        }

    def referrers(self, id_: str) -> list[dict]:
        return [o for o in self.objects.values() if id_ in set(_targets(o["fields"]))]


def _targets(value: Any):
    if isinstance(value, dict):
        if set(value) == {"$id"}:
            yield value["$id"]
        for inner in value.values():
            yield from _targets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _targets(inner)


def _without_empty(data: dict) -> dict:
    """Prefect 2.20 flattens the data of a PATCH, which loses empty mappings."""
    return {k: v for k, v in data.items() if v != {}}


def revealed(value: Any) -> Any:
    if isinstance(value, Secret):
        return revealed(value.reveal())
    if isinstance(value, dict):
        return {k: revealed(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [revealed(v) for v in value]
    return value


Fault = Callable[[Request], str | None]
"""Says what happens to a request: `before` or `after` (killed then), `503`, `lost`, or None."""


class MemoryApi:
    """One client. `fault` decides what becomes of each of its requests."""

    def __init__(self, server: MemoryPrefect, fault: Fault | None = None, version: str = "3.8.8"):
        self.server = server
        self.facts = ServerFacts(Version.parse(version), "http://memory/api")
        self.counts = RequestCounts()
        self.type_ids = {}
        self.fault = fault
        self.requests = 0
        self.dead = False

    def now(self) -> datetime:
        return self.server.now.replace(microsecond=0)  # the Date header has whole seconds

    async def get(self, path: str, params: Any = None) -> Any:
        return await self._send(Request(0, "GET", path, params), repeat=True)

    async def post(self, path: str, body: Any = None, *, repeat: Repeat = Repeat.NEVER) -> Any:
        return await self._send(Request(0, "POST", path, body), repeat=repeat is Repeat.SAFE)

    async def patch(self, path: str, body: Any, *, urgent: bool = False) -> Any:
        return await self._send(Request(0, "PATCH", path, body), repeat=True)

    async def delete(self, path: str) -> None:
        await self._send(Request(0, "DELETE", path), repeat=True)

    async def pages(self, path: str, body: Any = None, *, size: int = 200):
        offset = 0
        while True:
            wanted = {**(body or {}), "limit": size, "offset": offset}
            page = await self.post(path, wanted, repeat=Repeat.SAFE)
            if page:
                yield page
            if len(page) < size:
                return
            offset += size

    async def _send(self, request: Request, *, repeat: bool) -> Any:
        await anyio.lowlevel.checkpoint()
        if self.dead:
            raise Killed
        self.requests += 1
        request.number = self.requests
        request.body = revealed(request.body)
        self.counts.reads += request.reading
        self.counts.writes += not request.reading
        fate = self.fault(request) if self.fault else None
        if fate == "before":
            self.dead = True
            raise Killed
        if fate == "503":
            raise Overloaded(f"{request.method} {request.path}: 503")
        try:
            answer = self.server.handle(request)
        finally:
            if fate == "after":
                self.dead = True
                raise Killed
        if fate == "lost" and not repeat:
            raise AnswerLost(f"{request.method} {request.path}: no answer")
        return answer


def kill_at(number: int, moment: str = "before") -> Fault:
    """Die at the n-th request: before it arrives, or after it was carried out."""
    return lambda request: moment if request.number == number else None
