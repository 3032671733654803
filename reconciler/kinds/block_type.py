"""The kind BlockType: `block-type/<slug>`, a type of blocks of one's own, with its schema.

Prefect keeps the schemas of a type for ever; the newest one counts for new blocks. Deleting a type
deletes its blocks, the deployments that use them and the history of their runs (facts).
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from pydantic import Field

from reconciler.api import block_types, block_usage, blocks
from reconciler.blocks.custom import full_schema, normal_schema, schema_problems
from reconciler.blocks.declare import OWN_TYPES, is_block_name
from reconciler.blocks.registry import settings_of
from reconciler.kinds.base import Session, Written
from reconciler.kinds.base.record import Raw, RecordKind
from reconciler.model.desired import Declaration, Document, Parsed
from reconciler.model.keys import Key
from reconciler.model.live import Evidence, Live
from reconciler.model.problems import Problem
from reconciler.model.records import Record, text_at
from reconciler.model.values import Fields, Value

_TEXTS = ("description", "logo_url", "documentation_url", "code_example")
_SCHEMA = block_types.SCHEMA
_DOCS_OF_PREFECT = ("prefect.io", "prefecthq.github.io")
_LOGOS_OF_PREFECT = "https://cdn.sanity.io/images/3ugk85nk/"
_REFUSED = "/%&<>"


class BlockTypeFields(Record):
    """See the module's text."""

    immutable: ClassVar[frozenset[str]] = frozenset({"name"})

    name: str = Field(min_length=1, description="For people; unique. It can't be changed.")
    block_schema: dict[str, Any] = Field(
        description="The fields of such blocks, as JSON Schema: properties, required, definitions. A"
        " property with format: password is a secret."
    )
    capabilities: list[str] = Field(
        default_factory=list, description="What Prefect may use such blocks for."
    )
    description: str | None = Field(default=None, description="For people; Markdown.")
    logo_url: str | None = Field(default=None, description="Shown in Prefect's pages.")
    documentation_url: str | None = Field(default=None, description="Where to read more.")
    code_example: str | None = Field(default=None, description="Shown in Prefect's pages.")


class BlockType(RecordKind):
    """Block types of one's own."""

    name: ClassVar[str] = "BlockType"
    prefix: ClassVar[str] = "block-type"
    example: ClassVar[str] = """\
kind: BlockType
slug: warehouse
name: Warehouse
block_schema:
  properties:
    host: {type: string, title: Host}
    port: {type: integer, default: 5432}
    password: {type: string, format: password}
  required: [host, password]
"""
    fields: ClassVar[type[Record]] = BlockTypeFields
    names: ClassVar[Mapping[str, str]] = {"slug": "Its slug: a-z, 0-9 and dashes."}
    path: ClassVar[str] = "/block_types"

    def key_of(self, document: Document) -> Key | Problem:
        """Its slug."""
        slug = text_at(document, "slug", self.name)
        if isinstance(slug, Problem):
            return slug
        place = document.at("slug")
        if not is_block_name(slug):
            return Problem(place, "a slug has a-z, 0-9 and dashes only", "for example warehouse")
        if slug in OWN_TYPES:
            return Problem(place, f"{slug} holds our own books", "choose another slug")
        if settings_of(slug) is not None:
            text = f"{slug} is a type that the program knows by itself"
            return Problem(place, text, "declare blocks of it right away, or choose another slug")
        return Key.of(self.prefix, slug)

    def parse(self, document: Document) -> Parsed:
        """Check offline and declare."""
        parsed = super().parse(document)
        problems = [
            Problem(document.at(_SCHEMA, *path), text, hint)
            for path, text, hint in schema_problems(document.value.get(_SCHEMA))
        ]
        name = document.value.get("name")
        if isinstance(name, str) and (
            name.startswith("Prefect") or any(letter in name for letter in _REFUSED)
        ):
            text = f"name may not begin with Prefect nor hold {' '.join(_REFUSED)}"
            problems.append(
                Problem(document.at("name"), text, "for people only: call it otherwise")
            )
        return Parsed(problems=(*parsed.problems, *problems)) if problems else parsed

    async def conform(
        self, declaration: Declaration, session: Session
    ) -> tuple[Declaration, tuple[Problem, ...]]:
        """Normalise, and tell the session what blocks of the type will be like."""
        made = _normal(declaration.fields)
        slug = declaration.key.name
        session.block_schemas[slug] = full_schema(slug, str(made["name"]), made[_SCHEMA])
        return replace(declaration, fields=made), ()

    def key_of_live(self, raw: Raw) -> Key | None:
        """Its slug; none for types that Prefect and its packages bring along."""
        slug = raw["slug"]
        theirs = raw.get("is_protected") or slug in OWN_TYPES or settings_of(slug) is not None
        return None if theirs or _of_prefect(raw) else Key.of(self.prefix, slug)

    def path_of(self, key: Key) -> str:
        """By slug."""
        return f"{self.path}/slug/{quote(key.name, safe='')}"

    def live(self, session: Session, key: Key, raw: Raw) -> Live:
        """Return an object in the normal form."""
        texts = {name: raw.get(name) or None for name in _TEXTS}
        found = super().live(session, key, {**raw, **texts})
        return replace(found, fields=_normal(found.fields))

    async def listing(self, session: Session) -> AsyncIterator[Live]:
        """Yield every type that is somebody's own, and others if they are declared."""
        async for raw in block_types.block_types(session.api):
            declared = raw["slug"] in session.block_schemas
            key = Key.of(self.prefix, raw["slug"]) if declared else self.key_of_live(raw)
            if key is not None:
                yield self.live(session, key, raw)

    async def find(self, session: Session, key: Key) -> Live | None:
        """Look up by slug."""
        raw = await block_types.block_type(session.api, self.path_of(key))
        return None if raw is None else self.live(session, key, raw)

    async def read(self, session: Session, key: Key, id_: str) -> Live | None:
        """Read by id."""
        raw = await block_types.block_type(session.api, f"{self.path}/{id_}")
        return None if raw is None else self.live(session, key, raw)

    async def create(self, session: Session, key: Key, fields: Fields) -> Written:
        """Create the type, then its schema.

        Raises:
            AlreadyExists: the slug is taken by now.
            Conflict: another type has the name.
        """
        texts = {name: value for name, value in fields.items() if name in ("name", *_TEXTS)}
        made = await blocks.create_type(session.api, {"slug": key.name, **texts})
        session.index.add(key, made.id)
        await self._add_schema(session, key, made.id, fields, 1)
        return Written(made.id)

    async def update(self, session: Session, live: Live, fields: Fields) -> None:
        """Write what changed: texts by PATCH, anything about the schema as a newer schema."""
        if fields.keys() & {_SCHEMA, block_types.CAPABILITIES}:
            now = await self.read(session, live.key, live.id)
            number = 1 + (0 if now is None else int(now.raw[block_types.VERSIONS]))
            whole = {**live.fields, **fields}
            await self._add_schema(session, live.key, live.id, whole, number)
        texts = {name: value for name, value in fields.items() if name in _TEXTS}
        if texts:
            await session.api.patch(f"{self.path}/{live.id}", texts)

    async def _add_schema(
        self, session: Session, key: Key, id_: str, fields: Fields, version: int
    ) -> None:
        whole = full_schema(key.name, str(fields["name"]), fields.get(_SCHEMA))
        wanted: Any = fields.get(block_types.CAPABILITIES)
        await block_types.add_schema(session.api, id_, whole, list(wanted or []), version)

    async def evidence(self, session: Session, key: Key, id_: str) -> Evidence:
        """Count what the server would delete with it."""
        if await block_types.block_type(session.api, f"{self.path}/{id_}") is None:
            return Evidence(present=False)
        usage = await block_usage.block_usage(session.api)
        takes: dict[str, str] = {}
        runs = block_usage.RunCounts()
        async for one in blocks.documents(session.api, secrets=False, anonymous=True):
            if one.slug != key.name:
                continue
            takes[one.id] = f"deletes block/{one.slug}/{one.name}"
            users = usage.deployments.get(one.id, {})
            takes |= {i: f"deletes deployment/{name}" for i, name in users.items()}
            takes |= {i: f"block/{text}" for i, text in usage.parents.get(one.id, {}).items()}
            counted = usage.runs.get(one.id, block_usage.RunCounts())
            runs.active += counted.active
            runs.others += counted.others
        return Evidence(
            present=True,
            cascades=tuple(block_usage.history(runs, usage)) if takes else (),
            active_runs=runs.active,
            takes=takes,
        )


def _normal(fields: Fields) -> dict[str, Value]:
    made = dict(fields)
    if _SCHEMA in made:
        made[_SCHEMA] = normal_schema(made[_SCHEMA])
    if isinstance(made.get(block_types.CAPABILITIES), list):
        made[block_types.CAPABILITIES] = sorted(map(str, made[block_types.CAPABILITIES]))  # type: ignore[call-overload]
    return made


def _of_prefect(raw: Raw) -> bool:
    """Tell whether a type comes with Prefect or one of its packages: docs or logo are there."""
    host = urlsplit(raw.get("documentation_url") or "").hostname or ""
    logo = raw.get("logo_url") or ""
    return host.endswith(_DOCS_OF_PREFECT) or logo.startswith(_LOGOS_OF_PREFECT)
