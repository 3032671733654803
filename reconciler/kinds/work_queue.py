"""The kind WorkQueue: `work-queue/<pool>/<name>`.

The API knows queues by pool and name. Each pool is made with the queue `default`, which goes with
the pool alone (to delete it answers 500): declared, it is taken as it is found, and when git lets
go of it, it is reset. Priorities are unique in a pool: a queue that takes one moves the others on
(facts; tried on 2.20.26 and 3.8.8).
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import ClassVar
from urllib.parse import quote

from pydantic import Field

from reconciler.api import pools
from reconciler.errors import NotFound
from reconciler.kinds.base import Session, Written
from reconciler.kinds.base.record import Raw, RecordKind, get
from reconciler.model.desired import Document
from reconciler.model.exported import Exported
from reconciler.model.keys import Key
from reconciler.model.live import Evidence, Live
from reconciler.model.problems import Problem
from reconciler.model.records import Record, name_at
from reconciler.model.rules import Follows, KindRules
from reconciler.model.server import ServerFacts
from reconciler.model.values import Fields

_DEFAULT = "default"
_NO_LIMITS = {"is_paused": False, "concurrency_limit": None}


class QueueFields(Record):
    """See the module's text."""

    released: ClassVar[frozenset[str]] = frozenset({"is_paused", "priority"})

    description: str = Field(default="", description="For people.")
    priority: int | None = Field(
        default=None, ge=1, description="1 comes first; left alone where it isn't given."
    )
    concurrency_limit: int | None = Field(
        default=None, ge=0, description="Most flow runs at a time; null for no limit."
    )
    is_paused: bool = Field(default=False, description="Whether its flow runs wait.")


class WorkQueue(RecordKind):
    """Queues of work pools."""

    name: ClassVar[str] = "WorkQueue"
    prefix: ClassVar[str] = "work-queue"
    example: ClassVar[str] = """\
kind: WorkQueue
work_pool_name: batch
name: nightly
priority: 1
"""
    fields: ClassVar[type[Record]] = QueueFields
    names: ClassVar[Mapping[str, str]] = {
        "work_pool_name": "Name of the work pool that it belongs to.",
        "name": "Its name.",
    }
    path: ClassVar[str] = "/work_queues"
    renames: ClassVar[str] = "work-queue/*"

    def key_of(self, document: Document) -> Key | Problem:
        """Its pool and its name."""
        words = []
        for part in self.names:
            text = name_at(document, part, self.name)
            if isinstance(text, Problem):
                return text
            words.append(text)
        return Key.of(self.prefix, *words)

    def rules(self, facts: ServerFacts) -> KindRules:
        """Return the field table; its pool comes first."""
        follows = (Follows("work-pool", ("#0",)),)
        return replace(super().rules(facts), follows=follows)

    def key_of_live(self, raw: Raw) -> Key | None:
        """Its pool and its name."""
        return Key.of(self.prefix, raw["work_pool_name"], raw["name"])

    async def listing(self, session: Session) -> AsyncIterator[Live]:
        """Yield the queues of every pool."""
        async for page in session.api.pages("/work_pools/filter"):
            for pool in page:
                path = f"/work_pools/{quote(pool['name'], safe='')}/queues/filter"
                async for found in session.api.pages(path):
                    for raw in found:
                        key = Key.of(self.prefix, pool["name"], raw["name"])
                        yield self.live(session, key, raw)

    def path_of(self, key: Key) -> str:
        """By pool and name."""
        pool, name = (quote(part, safe="") for part in key.parts)
        return f"/work_pools/{pool}/queues/{name}"

    async def read(self, session: Session, key: Key, id_: str) -> Live | None:
        """Read by name; another queue of that name is not it, nor is one that we let go of."""
        found = await self.find(session, key)
        ours = found is not None and found.id == id_ and id_ not in _let_go(session)
        return found if ours else None

    async def create(self, session: Session, key: Key, fields: Fields) -> Written:
        """Create a queue. The one that its pool was made with is taken as it is."""
        path = self.path_of(key)
        if key.name == _DEFAULT and (raw := await get(session.api, path)) is not None:
            await session.api.patch(path, dict(fields))
        else:
            where = path.rpartition("/")[0]
            given = {name: value for name, value in fields.items() if value is not None}
            try:
                raw = await session.api.post(where, {"name": key.name, **given})
            except NotFound:
                raise NotFound(
                    f"there is no work pool {key.parts[0]}", hint="declare it, or make it first"
                ) from None
        session.index.add(key, raw["id"])
        return Written(raw["id"])

    async def update(self, session: Session, live: Live, fields: Fields) -> None:
        """Write the given fields."""
        await session.api.patch(self.path_of(live.key), dict(fields))

    async def rename(self, session: Session, live: Live, former: Key) -> None:
        """Write its name; deployments follow it by id."""
        await session.api.patch(self.path_of(former), {"name": live.key.name})

    async def delete(self, session: Session, live: Live) -> None:
        """Delete it, if it is still the one that we mean; `default` is reset."""
        if await self.read(session, live.key, live.id) is not None:
            if live.key.name == _DEFAULT:
                await session.api.patch(self.path_of(live.key), _NO_LIMITS)
                _let_go(session).add(live.id)
            else:
                await session.api.delete(self.path_of(live.key))
        session.index.drop(live.key)

    async def describe(self, session: Session, live: Live) -> Exported | None:
        """Leave out the queue that each pool is made with, unless somebody has set it up."""
        made = await super().describe(session, live)
        if made is None or live.key.name != _DEFAULT:
            return made
        told = {k: v for k, v in made.document.items() if k not in {"description", "priority"}}
        return replace(made, document=told) if set(told) - {"kind", *self.names} else None

    async def evidence(self, session: Session, key: Key, id_: str) -> Evidence:
        """Count the deployments that would lose it."""
        raw = await get(session.api, self.path_of(key))
        if raw is None or raw["id"] != id_:
            return Evidence(present=False)
        if key.name == _DEFAULT:
            return Evidence(present=True)
        pool, name = key.parts
        users = await pools.users(session.api, pool, name)
        return Evidence(
            present=True,
            active_runs=await pools.active_runs(session.api, pool, name),
            takes={id_: f"strands deployment/{one}" for id_, one in users.items()},
        )


def _let_go(session: Session) -> set[str]:
    """Return the queues `default` that were reset instead of deleted: ours no more."""
    found: set[str] = session.cache.setdefault("queues let go", set())
    return found
