"""Fake kinds on `MemoryPrefect`: `block` (with secrets and references) and `deployment`."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, ClassVar

from reconciler.api.client import Repeat
from reconciler.errors import NotFound
from reconciler.kinds.base import Session, Written, outgoing
from reconciler.model.keys import Key
from reconciler.model.live import Evidence, Live
from reconciler.model.places import Place
from reconciler.model.problems import Problem
from reconciler.model.rules import FieldRule, KindRules
from reconciler.model.values import MASKED, Masked, Ref, Secret, UnknownRef


class MemoryKind:
    """Implements `reconciler.kinds.base.Kind` as far as the engine uses it."""

    name: ClassVar[str] = "Thing"
    prefix: ClassVar[str] = "thing"
    secret_names: ClassVar[tuple[str, ...]] = ()
    field_rules: ClassVar[dict[str, FieldRule]] = {}
    refused: ClassVar[str | None] = None
    takes: ClassVar[bool] = False

    def rules(self, facts: Any) -> KindRules:
        return KindRules(self.field_rules, ("its auto-scheduled runs are rewritten",))

    async def conform(self, declaration: Any, session: Session):
        if "unsupported" in declaration.fields:
            message = f"{session.facts} can't hold unsupported"
            return declaration, (Problem(declaration.at("unsupported"), message),)
        return declaration, ()

    def align(self, fields, live):
        filled = fields.get("anchor", 0) is None
        return {**fields, "anchor": live.get("anchor")} if filled else fields

    async def listing(self, session: Session) -> AsyncIterator[Live]:
        answers = []
        async for page in session.api.pages("/things/filter", {"kind": self.prefix}):
            answers += page
        for answer in answers:
            session.index.add(Key.parse(answer["key"]), answer["id"])
        for answer in answers:
            yield self.live(answer, session)

    async def find(self, session: Session, key: Key) -> Live | None:
        try:
            answer = await session.api.get(f"/things/named/{key}")
        except NotFound:
            return None
        return self.live(answer, session)

    async def read(self, session: Session, key: Key, id_: str) -> Live | None:
        try:
            answer = await session.api.get(f"/things/{id_}")
        except NotFound:
            return None
        return self.live(answer, session)

    async def create(self, session: Session, key: Key, fields) -> Written:
        body = {"key": str(key), "fields": outgoing(_marked(fields, session), session.index)}
        answer = await session.api.post("/things/", body)
        return Written(answer["id"])

    async def before_update(self, session: Session, live: Live, fields):
        return {"taken": live.id} if self.takes else None

    async def after_update(self, session: Session, live: Live, notes) -> None:
        assert notes == {"taken": live.id}
        await session.api.post(f"/things/{live.id}/refill", repeat=Repeat.SAFE)

    async def update(self, session: Session, live: Live, fields) -> None:
        body = outgoing(_marked(fields, session), session.index)
        await session.api.patch(f"/things/{live.id}", body)

    async def delete(self, session: Session, live: Live) -> None:
        try:
            await session.api.delete(f"/things/{live.id}")
        except NotFound:
            return

    async def evidence(self, session: Session, key: Key, id_: str) -> Evidence:
        if await self.read(session, key, id_) is None:
            return Evidence(present=False)
        usage = await session.api.post("/usage/filter", {"id": id_})
        history = usage["history"]
        return Evidence(
            present=True,
            cascades=(f"deletes the history of {history} flow runs",) if history else (),
            active_runs=usage["active"],
            takes={o["id"]: f"deletes {o['key']}" for o in usage["referrers"]},
        )

    def live(self, answer: dict, session: Session) -> Live:
        return Live(
            key=Key.parse(answer["key"]),
            id=answer["id"],
            fields=self._incoming(answer["fields"], session),
            created=datetime.fromisoformat(answer["created"]),
            updated_by="jo",
        )

    def _incoming(self, value: Any, session: Session, name: str = "") -> Any:
        if name in self.secret_names:
            return Secret(value) if session.secrets else MASKED
        if isinstance(value, dict) and set(value) == {"$id"}:
            return session.index.ref(value["$id"])
        if isinstance(value, dict):
            return {k: self._incoming(v, session, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self._incoming(v, session) for v in value]
        return value


def _marked(value: Any, session: Session) -> Any:
    """References stand as `{"$id": …}` on this server."""
    if isinstance(value, Ref | UnknownRef):
        return {"$id": value}
    if isinstance(value, Masked):
        return "********"
    if isinstance(value, dict):
        return {k: _marked(v, session) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(v, session) for v in value]
    return value


class MemoryBlock(MemoryKind):
    name = "Block"
    prefix = "block"
    secret_names = ("password",)
    field_rules: ClassVar = {"data": FieldRule(default={})}


class MemoryDeployment(MemoryKind):
    name = "Deployment"
    prefix = "deployment"
    takes = True
    field_rules: ClassVar = {
        "description": FieldRule(),
        "tags": FieldRule(default=[]),
        "paused": FieldRule(default=False, released=True),
        "infrastructure": FieldRule(),
        "parameters": FieldRule(default={}),
        "flow_id": FieldRule(immutable=True),
        "anchor": FieldRule(),
    }


KINDS = (MemoryBlock(), MemoryDeployment())

HERE = Place("things.yaml", 1, 1)
