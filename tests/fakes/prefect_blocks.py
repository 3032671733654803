"""The block part of a Prefect API, in memory: types, schemas, documents, and who uses them."""

import json
from contextlib import asynccontextmanager

import httpx

from reconciler.api.client import Api
from reconciler.api.transport import Patience, Sender
from reconciler.kinds.base import Session
from reconciler.model.server import ServerFacts, Version
from tests.fakes.clock import VirtualClock

URL = "http://prefect.test/api"
_CREATED = "2026-01-01T00:00:0{}Z"


class BlockServer(httpx.AsyncBaseTransport):
    """Behaves as facts/prefect-api.md says; ids count up.

    Attributes:
        types: by slug.
        schemas: in the order of creation.
        documents: by id, as stored.
        deployments: rows of `/deployments/filter`.
        runs: rows of `/flow_runs/filter`.
        flows: rows of `/flows/filter`.
        asked: method and path of each request.
        interrupt: called with each; may return the answer.
    """

    def __init__(self):
        self.types = {}
        self.schemas = []
        self.documents = {}
        self.deployments = []
        self.runs = []
        self.flows = [{"id": "flow", "name": "etl"}]
        self.asked = []
        self.interrupt = lambda _request: None
        self._last = 0

    def new_id(self):
        self._last += 1
        return str(self._last)

    def add_type(self, slug, name=None):
        self.types[slug] = {"id": self.new_id(), "slug": slug, "name": name or slug}
        return self.types[slug]

    def add_schema(self, slug, fields, version="1"):
        row = {
            "id": self.new_id(),
            "checksum": f"sha256:{len(self.schemas)}",
            "version": version,
            "fields": fields,
            "block_type_id": self.types[slug]["id"],
            "created": _CREATED.format(len(self.schemas) % 10),
        }
        self.schemas.append(row)
        return row

    async def handle_async_request(self, request):
        await request.aread()
        path = request.url.path.removeprefix("/api")
        self.asked.append(f"{request.method} {path}")
        answer = self.interrupt(request)
        if answer is not None:
            return answer
        body = json.loads(request.content) if request.content else {}
        return self._route(request.method, path.strip("/").split("/"), body, request.url.params)

    def _route(self, method, parts, body, params):  # noqa: PLR0911, PLR0912 - one table of routes
        match [method, *parts]:
            case ["POST", what, "filter"]:
                return httpx.Response(200, json=self._page(what, body))
            case ["GET", "block_types", "slug", slug]:
                return _found(self.types.get(slug))
            case ["GET", "block_types", "slug", slug, _, "name", name]:
                rows = self.documents.values()
                row = [r for r in rows if (r["slug"], r["name"]) == (slug, name)]
                return _found(self._shown(row[0], params) if row else None)
            case ["POST", "block_types"]:
                return self._create_type(body)
            case ["POST", "block_schemas"]:
                [slug] = [s for s, t in self.types.items() if t["id"] == body["block_type_id"]]
                return httpx.Response(
                    201, json=self.add_schema(slug, body["fields"], body["version"])
                )
            case ["POST", "block_documents"]:
                return self._create_document(body)
            case ["GET", "block_documents", id_]:
                row = self.documents.get(id_)
                return _found(self._shown(row, params) if row else None)
            case ["PATCH", "block_documents", id_]:
                assert body["merge_existing_data"] is False
                self.documents[id_]["data"] = body["data"]
                return httpx.Response(204)
            case ["DELETE", "block_documents", id_]:
                gone = self.documents.pop(id_, None)
                return httpx.Response(204) if gone else httpx.Response(404, json={})
        raise AssertionError(f"{method} {parts}")

    def _page(self, what, body):
        rows = {
            "block_schemas": lambda: [
                s
                for s in self.schemas
                if s["block_type_id"] in body["block_schemas"]["block_type_id"]["any_"]
            ],
            "block_documents": lambda: [
                self._shown(r, {"include_secrets": str(body["include_secrets"]).lower()})
                for r in self.documents.values()
                if body["block_documents"]["is_anonymous"] is None or not r["is_anonymous"]
            ],
            "deployments": lambda: self.deployments,
            "flow_runs": lambda: self.runs,
            "flows": lambda: self.flows,
        }[what]()
        offset = body.get("offset", 0)
        return rows[offset : offset + body.get("limit", 200)]

    def _create_type(self, body):
        if body["slug"] in self.types:
            return httpx.Response(409, json={"detail": "exists"})
        for known in self.types.values():
            if known["name"] == body["name"]:
                return httpx.Response(201, json=known)
        return httpx.Response(201, json=self.add_type(body["slug"], body["name"]))

    def _create_document(self, body):
        [slug] = [s for s, t in self.types.items() if t["id"] == body["block_type_id"]]
        if any((r["slug"], r["name"]) == (slug, body["name"]) for r in self.documents.values()):
            return httpx.Response(409, json={"detail": "Block already exists"})
        row = self.add_document(slug, body["name"], body["data"], body["block_schema_id"])
        return httpx.Response(201, json={"id": row["id"]})

    def add_document(self, slug, name, data, schema_id=None, *, anonymous=False):
        id_ = self.new_id()
        mine = [s for s in self.schemas if s["block_type_id"] == self.types[slug]["id"]]
        self.documents[id_] = {
            "id": id_,
            "slug": slug,
            "name": name,
            "data": data,
            "schema": next(s for s in mine if schema_id in (None, s["id"])),
            "is_anonymous": anonymous,
        }
        return self.documents[id_]

    def _shown(self, row, params):
        fields = row["schema"]["fields"]
        references, data = {}, {}
        for name, value in row["data"].items():
            if isinstance(value, dict) and "$ref" in value:
                child = self.documents[value["$ref"]["block_document_id"]]
                shown = self._shown(child, params)
                data[name] = shown["data"]
                references[name] = {
                    "block_document": {
                        key: shown[key] for key in ("id", "name", "block_type", "is_anonymous")
                    }
                }
            else:
                data[name] = value
        if params.get("include_secrets") != "true":
            for secret in fields.get("secret_fields", ()):
                data = _masked(data, secret.split("."))
        return {
            "id": row["id"],
            "name": row["name"],
            "data": data,
            "block_type": self.types[row["slug"]],
            "block_schema": {"fields": fields},
            "block_document_references": references,
            "is_anonymous": row["is_anonymous"],
            "created": _CREATED.format(0),
            "updated": None,
        }


def _masked(value, steps):
    if not steps:
        return None if value is None else "********"
    if not isinstance(value, dict):
        return value
    if steps[0] == "*":
        return {
            key: _masked(inner, ["*"] if isinstance(inner, dict) else [])
            for key, inner in value.items()
        }
    if steps[0] not in value:
        return value
    return {**value, steps[0]: _masked(value[steps[0]], steps[1:])}


def _found(row):
    return httpx.Response(404, json={}) if row is None else httpx.Response(200, json=row)


@asynccontextmanager
async def session_on(server, *, secrets=True):
    """A session whose client talks to the fake."""
    async with httpx.AsyncClient(base_url=URL, transport=server) as http:
        sender = Sender(http, VirtualClock(), Patience(attempt=60, deadline=120))
        yield Session(Api(sender, ServerFacts(Version(3, 8, 8), URL)), secrets=secrets)
