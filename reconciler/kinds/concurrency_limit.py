"""The kind ConcurrencyLimit: `concurrency-limit/global:<name>` and `concurrency-limit/tag:<tag>`.

Global limits are Prefect's v2 limits, tag limits its v1 limits. 3.x keeps the latter among the
former, as `tag:<tag>`, and makes one `deployment:<id>` for each deployment with a limit; those two
are not listed as global ones (tried on 2.20.26 and 3.8.8). How many slots are taken is no desired
state.
"""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from pydantic import Field

from reconciler.kinds.base import Session, Written
from reconciler.kinds.base.record import Raw, RecordKind, get
from reconciler.model.desired import Document, Parsed
from reconciler.model.keys import Key
from reconciler.model.live import Evidence, Live
from reconciler.model.problems import Problem
from reconciler.model.records import Record, declared, read_record, text_at
from reconciler.model.values import Fields

_GLOBAL, _TAG = "global:", "tag:"
_MADE_BY_PREFECT = ("tag:", "deployment:")
_FORBIDDEN = re.compile(r"[/%&<>]")
_V1, _V2 = "/concurrency_limits", "/v2/concurrency_limits"


class LimitFields(Record):
    """See the module's text."""

    limit: int = Field(ge=0, description="How many at a time.")
    active: bool = Field(default=True, description="Whether it holds; global limits only.")
    slot_decay_per_second: float = Field(
        default=0.0,
        ge=0,
        description="Slots that come back each second by themselves, for rate limits;"
        " global limits only.",
    )


class TagLimitFields(Record):
    """The field of a tag limit."""

    limit: int = Field(ge=0, description="How many task runs with that tag at a time.")


class ConcurrencyLimit(RecordKind):
    """Global and tag limits."""

    name: ClassVar[str] = "ConcurrencyLimit"
    prefix: ClassVar[str] = "concurrency-limit"
    example: ClassVar[str] = """\
kind: ConcurrencyLimit
name: database          # or tag: slow, for task runs with that tag
limit: 5
"""
    fields: ClassVar[type[Record]] = LimitFields
    names: ClassVar[Mapping[str, str]] = {
        "name": "Name of a global limit.",
        "tag": "Tag of a tag limit; instead of a name.",
    }
    path: ClassVar[str] = _V2
    renames: ClassVar[str] = "concurrency-limit/global:*"

    def key_of(self, document: Document) -> Key | Problem:
        """`global:` and its name, or `tag:` and its tag."""
        given = [word for word in self.names if word in document.value]
        if len(given) != 1:
            place = document.at(given[-1]) if given else document.place
            return Problem(place, f"a {self.name} needs either name or tag")
        text = text_at(document, given[0], self.name)
        if isinstance(text, Problem):
            return text
        if _FORBIDDEN.search(text) or text.startswith(_MADE_BY_PREFECT):
            return Problem(
                document.at(given[0]),
                f"{given[0]} may not hold / % & < >, nor begin with tag: or deployment:",
            )
        return Key.of(self.prefix, f"{_GLOBAL if given == ['name'] else _TAG}{text}")

    def parse(self, document: Document) -> Parsed:
        """Check offline and declare; a tag limit has one field."""
        key = self.key_of(document)
        if isinstance(key, Key) and _is_tag(key):
            fields, problems = read_record(document, "tag limit", TagLimitFields, self.names)
            return Parsed(problems=problems) if problems else declared(key, fields, document)
        return super().parse(document)

    def key_of_live(self, raw: Raw) -> Key | None:
        """Its name; None for what Prefect keeps there for itself."""
        name = raw["name"]
        return None if name.startswith(_MADE_BY_PREFECT) else Key.of(self.prefix, _GLOBAL + name)

    async def listing(self, session: Session) -> AsyncIterator[Live]:
        """Yield global limits, then tag limits."""
        async for live in super().listing(session):
            yield live
        async for page in session.api.pages(f"{_V1}/filter"):
            for raw in page:
                yield self._tag(session, raw)

    async def find(self, session: Session, key: Key) -> Live | None:
        """Look up by name or tag."""
        if not _is_tag(key):
            return await super().find(session, key)
        raw = await get(session.api, f"{_V1}/tag/{quote(_bare(key), safe='')}")
        return None if raw is None else self._tag(session, raw)

    def path_of(self, key: Key) -> str:
        """By name."""
        return f"{_V2}/{quote(_bare(key), safe='')}"

    async def read(self, session: Session, key: Key, id_: str) -> Live | None:
        """Read by id."""
        if not _is_tag(key):
            return await super().read(session, key, id_)
        raw = await get(session.api, f"{_V1}/{id_}")
        return None if raw is None else self._tag(session, raw)

    def body(self, key: Key, fields: Fields) -> dict[str, Any]:
        """Return the body of a create."""
        return {"name": _bare(key), **fields}

    async def create(self, session: Session, key: Key, fields: Fields) -> Written:
        """Create a limit. The POST of a tag limit is an upsert, which says so (facts)."""
        if not _is_tag(key):
            return await super().create(session, key, fields)
        if await self.find(session, key) is not None:
            return Written(session.index.ids[key], existed=True)
        raw = await session.api.post(f"{_V1}/", _tag_body(key, fields))
        session.index.add(key, raw["id"])
        return Written(raw["id"])

    async def update(self, session: Session, live: Live, fields: Fields) -> None:
        """Write fields; a tag limit by its upsert, which keeps the id."""
        if _is_tag(live.key):
            await session.api.post(f"{_V1}/", _tag_body(live.key, fields))
        else:
            await super().update(session, live, fields)

    async def delete(self, session: Session, live: Live) -> None:
        """Delete by id."""
        if not _is_tag(live.key):
            await super().delete(session, live)
            return
        await session.api.delete(f"{_V1}/{live.id}")
        session.index.drop(live.key)

    async def evidence(self, session: Session, key: Key, id_: str) -> Evidence:
        """See whether it is there; nothing goes with it."""
        path = _V1 if _is_tag(key) else _V2
        return Evidence(present=await get(session.api, f"{path}/{id_}") is not None)

    def named(self, key: Key) -> dict[str, str]:
        """Its name, or its tag."""
        return {"tag" if _is_tag(key) else "name": _bare(key)}

    def _tag(self, session: Session, raw: Raw) -> Live:
        key = Key.of(self.prefix, _TAG + raw["tag"])
        return self.live(session, key, {**raw, "limit": raw["concurrency_limit"]})


def _is_tag(key: Key) -> bool:
    return key.name.startswith(_TAG)


def _bare(key: Key) -> str:
    return key.name.partition(":")[2]


def _tag_body(key: Key, fields: Fields) -> dict[str, Any]:
    return {"tag": _bare(key), "concurrency_limit": fields["limit"]}
