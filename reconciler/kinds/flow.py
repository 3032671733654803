"""The kind Flow: `flow/<name>`, for its tags.

A flow is made by its first deployment; declare it to have tags of its own. Deleting one deletes its
deployments and the history of all its runs (facts), so that is held until it is allowed.
"""

from typing import Any, ClassVar

from pydantic import Field

from reconciler.api.client import Repeat
from reconciler.kinds.base import Session, Written
from reconciler.kinds.base.record import Raw, RecordKind, get
from reconciler.model.desired import Document
from reconciler.model.keys import Key
from reconciler.model.live import Evidence
from reconciler.model.problems import Problem
from reconciler.model.records import Record, name_at
from reconciler.model.values import Fields

_ACTIVE = ["PENDING", "RUNNING", "CANCELLING"]


class FlowFields(Record):
    """See the module's text."""

    tags: list[str] = Field(default_factory=list, description="Tags of the flow itself.")


class Flow(RecordKind):
    """Flows and their tags."""

    name: ClassVar[str] = "Flow"
    prefix: ClassVar[str] = "flow"
    example: ClassVar[str] = """\
kind: Flow
name: etl
tags: [shop]
"""
    fields: ClassVar[type[Record]] = FlowFields
    path: ClassVar[str] = "/flows"

    def key_of(self, document: Document) -> Key | Problem:
        """Its name."""
        name = name_at(document, "name", self.name)
        return name if isinstance(name, Problem) else Key.of(self.prefix, name)

    def key_of_live(self, raw: Raw) -> Key | None:
        """Its name."""
        return Key.of(self.prefix, raw["name"])

    async def create(self, session: Session, key: Key, fields: Fields) -> Written:
        """Create a flow. The POST is an upsert that keeps the tags of the first one (facts)."""
        body = self.body(key, fields)
        status, raw = await session.api.post_status(f"{self.path}/", body, repeat=Repeat.SAFE)
        session.index.add(key, raw["id"])
        return Written(raw["id"], existed=status == 200)  # noqa: PLR2004 - an upsert found it

    async def evidence(self, session: Session, key: Key, id_: str) -> Evidence:
        """Count what the server would delete with it."""
        if await get(session.api, f"{self.path}/{id_}") is None:
            return Evidence(present=False)
        wanted: dict[str, Any] = {"flows": {"id": {"any_": [id_]}}}
        takes = {
            one["id"]: f"deletes deployment/{key.name}/{one['name']}"
            async for page in session.api.pages("/deployments/filter", wanted)
            for one in page
        }
        runs = int(await session.api.post("/flow_runs/count", wanted, repeat=Repeat.SAFE))
        states = {"flow_runs": {"state": {"type": {"any_": _ACTIVE}}}}
        active = await session.api.post("/flow_runs/count", wanted | states, repeat=Repeat.SAFE)
        history = f"deletes the history of {runs} flow run{'s' * (runs != 1)}"
        return Evidence(
            present=True,
            cascades=(history,) if runs else (),
            active_runs=int(active),
            takes=takes,
        )
