"""The kind Automation: `automation/<name>`.

Prefect lets several automations have one name; the oldest is the one that counts here. Prefect 2.20
has them only where the server's settings turn them on (facts).
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from reconciler.api.client import Api
from reconciler.errors import NotFound
from reconciler.kinds.base import Session, outgoing
from reconciler.kinds.base.record import Raw, RecordKind
from reconciler.model.automation_document import (
    AutomationFields,
    automation_key,
    parse_automation,
)
from reconciler.model.automations import (
    ACTIONS_FIELDS,
    gives_no_time,
    live_action,
    misfits_of_2_20,
    normal_action,
    normal_trigger,
    written_action,
    written_trigger,
)
from reconciler.model.desired import Declaration, Document, Parsed
from reconciler.model.exported import Exported
from reconciler.model.keys import Key
from reconciler.model.live import Live
from reconciler.model.problems import Problem
from reconciler.model.records import Record
from reconciler.model.server import ServerFacts
from reconciler.model.values import Fields, UnknownRef, Value


class Automation(RecordKind):
    """Automations."""

    name: ClassVar[str] = "Automation"
    prefix: ClassVar[str] = "automation"
    example: ClassVar[str] = """\
kind: Automation
name: pause-after-failures
trigger:
  posture: Reactive
  expect: [prefect.flow-run.Failed]
  match_related: {prefect.resource.name: etl}
  threshold: 3
  within: 3600
actions:
  - {type: pause-deployment, source: selected, deployment: etl/nightly}
"""
    fields: ClassVar[type[Record]] = AutomationFields
    path: ClassVar[str] = "/automations"
    renames: ClassVar[str] = "automation/*"

    def key_of(self, document: Document) -> Key | Problem:
        """Its name."""
        return automation_key(document)

    def parse(self, document: Document) -> Parsed:
        """Check offline; names in actions become references."""
        return parse_automation(document)

    async def conform(
        self, declaration: Declaration, session: Session
    ) -> tuple[Declaration, tuple[Problem, ...]]:
        """Normalise the trigger; say where a server has no automations."""
        if not await _has_them(session):
            text = f"{session.facts} has no automations"
            hint = (
                "PREFECT_EXPERIMENTAL_EVENTS and PREFECT_API_SERVICES_TRIGGERS_ENABLED bring them"
            )
            return declaration, (Problem(declaration.place, text, hint),)
        conformed = replace(declaration, fields=_normal(declaration.fields))
        return conformed, tuple(_misfits(conformed, session.facts))

    def key_of_live(self, raw: Raw) -> Key | None:
        """Its name; none that no manifest could give."""
        return None if "/" in raw["name"] or not raw["name"] else Key.of(self.prefix, raw["name"])

    def live(self, session: Session, key: Key, raw: Raw) -> Live:
        """Return an object in the normal form, with references for ids."""
        told = {
            name: [live_action(one, session.index.ref) for one in raw.get(name) or []]
            for name in ACTIONS_FIELDS
        }
        found = super().live(session, key, {**raw, "description": raw.get("description") or ""})
        return replace(found, fields=_normal({**found.fields, **told}))

    async def listing(self, session: Session) -> AsyncIterator[Live]:
        """Yield the oldest automation of each name."""
        if not await _has_them(session):
            return
        found: dict[Key, dict[str, Any]] = {}
        async for page in session.api.pages(f"{self.path}/filter"):
            for raw in page:
                key = self.key_of_live(raw)
                if key is not None and (key not in found or raw["created"] < found[key]["created"]):
                    found[key] = raw
        for key, raw in found.items():
            session.index.add(key, raw["id"])  # they may be about one another
        for key, raw in found.items():
            yield self.live(session, key, raw)

    async def find(self, session: Session, key: Key) -> Live | None:
        """Look the oldest of its name up."""
        if not await _has_them(session):
            return None
        body = {"automations": {"name": {"any_": [key.name]}}}
        async for page in session.api.pages(f"{self.path}/filter", body):
            named = [raw for raw in page if raw["name"] == key.name]
            if named:
                return self.live(session, key, min(named, key=lambda raw: str(raw["created"])))
        return None

    async def create(self, session: Session, key: Key, fields: Fields) -> Any:
        """Create it, ids in place of references."""
        plain = {name: outgoing(value, session.index) for name, value in fields.items()}
        return await super().create(session, key, plain)

    async def update(self, session: Session, live: Live, fields: Fields) -> None:
        """Turn it on or off by PATCH; anything else replaces it whole (facts), as it is now."""
        if set(fields) == {"enabled"}:
            await session.api.patch(f"{self.path}/{live.id}", dict(fields))
            return
        now = await self.read(session, live.key, live.id)
        if now is None:
            raise NotFound(f"{live.key} is gone")
        known = {name: now.raw[name] for name in self.fields.model_fields if name in now.raw}
        plain = {name: outgoing(value, session.index) for name, value in fields.items()}
        body = {"name": live.key.name, **known, **plain}
        await session.api.put(f"{self.path}/{live.id}", body)

    async def rename(self, session: Session, live: Live, former: Key) -> None:  # noqa: ARG002
        """Replace it by itself under its new name."""
        await self.update(session, live, {})

    async def describe(self, session: Session, live: Live) -> Exported | None:
        """Write it with names for what its actions are about."""
        made = await super().describe(session, live)
        if made is None:
            return None
        told = {**made.document, "trigger": written_trigger(made.document.get("trigger"))}
        notes = []
        for name in ACTIONS_FIELDS:
            actions = [one for one in _list(told.get(name)) if isinstance(one, Mapping)]
            if any(isinstance(value, UnknownRef) for one in actions for value in one.values()):
                notes.append(f"{name} are about something that is gone, or has no name")
            if actions:
                told[name] = [written_action(one) for one in actions]
        return replace(made, document=told, notes=tuple(notes))


def _normal(fields: Fields) -> dict[str, Value]:
    made = dict(fields)
    if "trigger" in made:
        made["trigger"] = normal_trigger(made["trigger"])
    for name in ACTIONS_FIELDS:
        if name in made:
            made[name] = [normal_action(one) for one in _list(made[name])]
    return made


def _misfits(declaration: Declaration, facts: ServerFacts) -> Iterator[Problem]:
    """Yield what a server can't hold, though it would not say so."""
    if not facts.is_v2:
        if gives_no_time(declaration.fields.get("trigger")):
            text = f"{facts} takes no compound or sequence trigger without within"
            yield Problem(declaration.at("trigger"), text, "say it, in seconds: within: 3600")
        return
    if declaration.fields.get("tags"):
        yield Problem(declaration.at("tags"), f"{facts} can't hold tags", "remove it")
    for name in ACTIONS_FIELDS:
        for what in misfits_of_2_20(declaration.fields.get(name)):
            yield Problem(declaration.at(name), f"{facts} can't hold {what}", "remove it")


def _list(value: Value) -> list[Value]:
    return list(value) if isinstance(value, list) else []


async def _has_them(session: Session) -> bool:
    """Ask once a session whether the server has automations."""
    return await session.once("automations", partial(_counts_them, session.api))


async def _counts_them(api: Api) -> bool:
    try:
        await api.post("/automations/count", {})
    except NotFound:
        return False
    return True
