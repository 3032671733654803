"""The kind Deployment: `deployment/<flow>/<name>`.

What an update sends is decided in `reconciler.model.deployment_update`, with the table of reasons; how
scheduled runs come back after it, in `reconciler.api.refill`.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

import anyio

from reconciler.api import blocks, deployments, refill
from reconciler.api.client import Api
from reconciler.blocks.data import normalise as normal_data
from reconciler.blocks.declare import block_declaration, block_key, generated_name
from reconciler.blocks.export import told
from reconciler.errors import AlreadyExists, NotFound, Overloaded
from reconciler.kinds.base import Lot, Notes, NotRenamed, Session, Written, outgoing
from reconciler.kinds.base.parents import ensure_pool, flow_id_of
from reconciler.kinds.base.vacancy import is_free
from reconciler.model.deployment_document import (
    BUILT,
    PREFECT_YAML,
    Reading,
    places,
    read_document,
)
from reconciler.model.deployment_export import document_of
from reconciler.model.deployment_fields import (
    field_rules,
    known,
    live_fields,
    normalise,
)
from reconciler.model.deployment_schema import document_schema
from reconciler.model.deployment_triggers import parse_triggers
from reconciler.model.deployment_update import needs_post, patched, rewritten
from reconciler.model.desired import Declaration, Document, Parsed
from reconciler.model.exported import Exported
from reconciler.model.firing import may_fire
from reconciler.model.keys import Key
from reconciler.model.live import Evidence, Live
from reconciler.model.paths import veiled
from reconciler.model.problems import Problem
from reconciler.model.rules import Follows, KindRules
from reconciler.model.schedules import align, endless
from reconciler.model.server import ServerFacts
from reconciler.model.values import Fields, Ref, UnknownRef, Value

_BLOCKS = ("infrastructure", "storage")
_SCHEDULE_FIELDS_V3 = ("slug", "parameters")
_LEFT_BEHIND = (
    "its flow runs keep their history by its id, and the new deployment begins without any"
)
_FOLLOWS = (
    Follows("flow", ("#0",)),
    Follows("work-pool", ("work_pool_name",)),
    Follows("work-queue", ("work_pool_name", "work_queue_name")),
)
_SCHEDULER_PASS = timedelta(minutes=3)
"""After a create, the server's own scheduler has passed: its loops take five seconds and a minute."""
_KEPT = (
    "id",
    "flow_id",
    "parameter_openapi_schema",
    "global_concurrency_limit",
)
"""Of an answer, what a write needs beside the fields: not all, for the sake of memory."""
_GETS_A_NAME = "its infrastructure is a block without a name; applied, it gets one of its own"
_WRITE_EFFECTS = ("its auto-scheduled runs are deleted and scheduled again",)


class Deployment(NotRenamed):
    """Deployments with infrastructure blocks, or with work pools."""

    name: ClassVar[str] = "Deployment"
    prefix: ClassVar[str] = "deployment"
    example: ClassVar[str] = """\
kind: Deployment
flow_name: etl
name: nightly
entrypoint: flows/etl.py:etl
path: $STORAGE_BASE_PATH
infrastructure: docker-container/etl
infra_overrides: {env.LOG_LEVEL: DEBUG}
schedules: [{cron: "0 3 * * *", timezone: Europe/London}]
parameters: {limit: 10}
tags: [prod]
"""

    def __init__(self, refill_seconds: float = 60.0) -> None:
        """Make the kind.

        Args:
            refill_seconds: how long a refill may take, also while we are being stopped.
        """
        self._refill_seconds = refill_seconds

    def recognises(self, document: Document) -> bool:
        """Tell whether a document without `kind` is one: by its shape, or by naming a flow."""
        if document.shape in (BUILT, PREFECT_YAML):
            return True
        return {"flow_name", "name"} <= document.value.keys()

    def parse(self, document: Document) -> Parsed:
        """Check a document offline; inline infrastructure and triggers are declarations of their own."""
        reading = read_document(document)
        if reading.key is None:
            return Parsed(problems=reading.findings.problems)
        inline = _inline(document, reading, reading.key)
        triggers = parse_triggers(document, reading.key)
        problems = (*reading.findings.problems, *inline.problems, *triggers.problems)
        if reading.findings.fatal or inline.problems or triggers.problems:
            return Parsed(problems=problems)
        for name in _BLOCKS:
            reference = reading.fields.get(name)
            if isinstance(reference, Ref):
                reading.fields[name] = Ref(block_key(*reference.key.parts))
        if inline.declarations:
            reading.fields["infrastructure"] = Ref(inline.declarations[0].key)
        where = places(document, reading)
        declared = Declaration(reading.key, reading.fields, document.place, where)
        return Parsed((declared, *inline.declarations, *triggers.declarations), problems)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the document."""
        return document_schema()

    def rules(self, facts: ServerFacts) -> KindRules:
        """Return the field table for a server."""
        fields = field_rules(v2=facts.is_v2)
        return KindRules(
            fields, write_effects=_WRITE_EFFECTS, follows=_FOLLOWS, left_behind=_LEFT_BEHIND
        )

    async def conform(
        self, declaration: Declaration, session: Session
    ) -> tuple[Declaration, tuple[Problem, ...]]:
        """Normalise for the server's version; name what that version can't hold."""
        facts = session.facts
        fits = known(v2=facts.is_v2)
        problems = []
        kept: dict[str, Value] = {}
        for name, value in declaration.fields.items():
            if name in fits:
                kept[name] = value
            elif value:
                place = declaration.at(name)
                problems.append(Problem(place, f"{facts} can't hold {name}", "remove it"))
        if facts.is_v2:
            problems += _schedule_problems(declaration, facts)
        fields = normalise(kept, v2=facts.is_v2)
        return replace(declaration, fields=fields), tuple(problems)

    def align(self, fields: Fields, live: Fields) -> Fields:
        """Fill in what git leaves open in schedules: `active`, `slug`, `anchor_date`."""
        if "schedules" not in fields:
            return fields
        return {**fields, "schedules": align(_list(fields["schedules"]), _list(live["schedules"]))}

    async def listing(self, session: Session) -> AsyncIterator[Live]:
        """Yield every deployment, newest first."""
        seen: set[str] = set()
        async for page in deployments.pages(session.api):
            flows = await _flows(session, page)
            for raw in page:
                if raw["id"] not in seen and raw["flow_id"] in flows:
                    seen.add(raw["id"])
                    key = Key.of(self.prefix, flows[raw["flow_id"]], raw["name"])
                    yield _live(session, key, raw)

    async def find(self, session: Session, key: Key) -> Live | None:
        """Look a deployment up by the names of its flow and its own."""
        raw = await deployments.find(session.api, *key.parts)
        return None if raw is None else _live(session, key, raw)

    async def read(self, session: Session, key: Key, id_: str) -> Live | None:
        """Read a deployment by id."""
        raw = await deployments.read(session.api, id_)
        return None if raw is None else _live(session, key, raw)

    async def create(self, session: Session, key: Key, fields: Fields) -> Written:
        """Create a deployment, its flow if needed, and the scheduled runs that come soon.

        The others are made by the server's scheduler, which looks at new deployments every five
        seconds (Prefect 2.20.26, 3.8.8: `RecentDeploymentsScheduler`).

        Raises:
            AlreadyExists: it is there by now. The POST is an upsert and would write over it.
        """
        flow, name = key.parts
        free = await is_free(session, key, partial(_free, session.api))
        if not free and await deployments.find(session.api, flow, name) is not None:
            raise AlreadyExists("somebody else has created it meanwhile", hint="plan again")
        await ensure_pool(session, fields.get("work_pool_name"))
        flow_id = await flow_id_of(session, flow)
        body = _body(session, fields)
        id_, existed = await deployments.create(
            session.api, {"name": name, "flow_id": flow_id, **body}
        )
        if not existed:
            session.index.add(key, id_)
            now = session.api.now()
            schedules = _list(fields.get("schedules"))
            if any(may_fire(item, now, _SCHEDULER_PASS) for item in schedules):
                await _refill(session, id_, refill.Seen(now), fields, self._refill_seconds)
        return Written(id_, existed)

    async def before_update(self, session: Session, live: Live, fields: Fields) -> Notes | None:
        """Note which scheduled runs the write disturbs; none of a paused deployment come back."""
        whole = {**live.fields, **fields}
        scheduled = bool(live.fields["schedules"])
        if whole.get("paused") or not (scheduled or whole.get("schedules")):
            return None
        v2, stays = session.facts.is_v2, _active(whole)
        active = _active(live.fields) or stays
        if not (active or v2):
            return None  # there are no future runs, and 3.x leaves the others (see `refill`)
        replaced = "schedules" in fields or (needs_post(live, fields, v2=v2) and not v2)
        look = partial(refill.look, scheduled=scheduled, new_keys=replaced, active=stays)
        seen = await look(session.api, live.id)
        # Schedules that are off still leave a run that an agent gave back, or that somebody retries.
        return seen.notes() if active or seen.overdue or seen.coming else None

    async def update(self, session: Session, live: Live, fields: Fields) -> None:
        """Write fields with the least request that carries them."""
        v2 = session.facts.is_v2
        if "work_pool_name" in fields:
            await ensure_pool(session, fields["work_pool_name"])
        if needs_post(live, fields, v2=v2):
            await self._rewrite(session, live, fields)
        else:
            await deployments.patch(
                session.api, live.id, _body(session, patched(live, fields, v2=v2))
            )

    async def _rewrite(self, session: Session, live: Live, fields: Fields) -> None:
        """POST over the deployment as it is now: what else was changed since the plan stays."""
        now = await self.read(session, live.key, live.id)
        if now is None:
            raise NotFound(f"{live.key} is gone")
        names = {"name": now.key.name, "flow_id": now.raw["flow_id"]}
        body = _body(session, rewritten(now, fields))
        await deployments.rewrite(session.api, {**names, **body})

    async def after_update(self, session: Session, live: Live, notes: Notes) -> None:
        """Schedule again what the write has deleted."""
        seen = refill.Seen.from_notes(notes)
        await _refill(session, live.id, seen, live.fields, self._refill_seconds)

    async def delete(self, session: Session, live: Live) -> None:
        """Delete by id."""
        await deployments.delete(session.api, live.id)
        session.index.drop(live.key)

    async def evidence(self, session: Session, key: Key, id_: str) -> Evidence:  # noqa: ARG002
        """Count active runs. The history of runs stays; SCHEDULED runs go, which holds nothing."""
        if await deployments.read(session.api, id_) is None:
            return Evidence(present=False)
        active = await deployments.count_runs(session.api, id_, "PENDING", "RUNNING", "CANCELLING")
        return Evidence(present=True, active_runs=active)

    async def describe(self, session: Session, live: Live) -> Exported | None:
        """Write every field that isn't default; an infrastructure without a name of its own inline."""
        document, notes = document_of(live.key, live.fields, v2=session.facts.is_v2)
        for name in _BLOCKS:
            value = live.fields.get(name)
            nameless = _nameless(value, live.key, session)
            if nameless is not None and name == "infrastructure":
                document[name], more = await _inlined(session, nameless)
                notes += (*more, *([_GETS_A_NAME] if isinstance(value, UnknownRef) else []))
            elif nameless is not None:
                notes += (f"{name} is a block without a name; declare one and refer to it",)
            elif isinstance(value, Ref):
                document[name] = "/".join(value.key.parts)
        return Exported(live.key, document, notes)


def _nameless(value: Value, key: Key, session: Session) -> str | None:
    """Return the id of a block that has no name, or one that we gave it; None for all others."""
    if isinstance(value, UnknownRef):
        return value.id
    ours = isinstance(value, Ref) and value.key.name == generated_name(key)
    return session.index.ids[value.key] if isinstance(value, Ref) and ours else None


async def _inlined(session: Session, id_: str) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Return a block without a name as inline infrastructure."""
    found = await blocks.read_document(session.api, id_, secrets=False)
    if found is None:
        return {}, ("its infrastructure is gone",)
    references = {
        name: UnknownRef(target.id)
        if target.anonymous
        else Ref(block_key(target.slug, target.name))
        for name, target in found.references.items()
    }
    data, notes = told(
        {
            name: veiled(value, session.veiled.get(id_, ()), f"data.{name}")
            for name, value in normal_data(
                found.slug, {**found.data, **references}, found.schema
            ).items()
        }
    )
    return {"type": found.slug, **{k: v for k, v in data.items() if k != "type"}}, notes


def _inline(document: Document, reading: Reading, key: Key) -> Parsed:
    inline = reading.inline
    if inline is None:
        return Parsed()
    name = generated_name(key)
    return block_declaration(inline.slug, name, inline.data, document, inline.path, generated=True)


def _schedule_problems(declaration: Declaration, facts: ServerFacts) -> list[Problem]:
    """Return what 2.20 can't do with the schedules."""
    schedules = _list(declaration.fields.get("schedules"))
    place = declaration.at("schedules")
    problems = [
        Problem(place, f"{facts} can't hold {key} of a schedule", "remove it")
        for key in sorted(_SCHEDULE_FIELDS_V3)
        if any(schedule.get(key) for schedule in schedules)
    ]
    if any(endless(schedule) for schedule in schedules):
        # It answers nothing else meanwhile (Prefect 2.20.26: tried).
        message = f"{facts} would count every second since 2020 for this rrule"
        problems.append(
            Problem(place, message, "use an interval, or begin it with a recent DTSTART")
        )
    return problems


def _list(value: Value) -> list[Mapping[str, Any]]:
    return list(value) if isinstance(value, list | tuple) else []


async def _free(api: Api, keys: Lot) -> frozenset[Key]:
    """Return keys whose name no deployment of any of their flows bears."""
    flows, names = ({key.parts[number] for key in keys} for number in (0, 1))
    taken = await deployments.names(api, flows, names)
    return frozenset(key for key in keys if key.name not in taken)


async def _flows(session: Session, page: list[dict[str, Any]]) -> dict[str, str]:
    """Return names of flows by id, asking only for those not seen yet in this session."""
    names: dict[str, str] = session.cache.setdefault("flow names", {})
    missing = {raw["flow_id"] for raw in page} - names.keys()
    if missing:
        names.update(await deployments.flow_names(session.api, missing))
    return names


def _live(session: Session, key: Key, raw: Mapping[str, Any]) -> Live:
    fields = live_fields(raw, v2=session.facts.is_v2)
    for name in _BLOCKS:
        id_ = fields[name]
        fields[name] = session.index.ref(id_ if isinstance(id_, str) else None)
    session.index.add(key, raw["id"])
    return Live(
        key=key,
        id=raw["id"],
        fields=fields,
        created=_moment(raw.get("created")),
        updated=_moment(raw.get("updated")),
        updated_by=(raw.get("updated_by") or {}).get("display_value"),
        raw={name: raw[name] for name in _KEPT if name in raw},
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _body(session: Session, fields: Fields) -> dict[str, Any]:
    """Make a request body; secrets stay hidden until the client sends it."""
    ids = {name: outgoing(fields[name], session.index) for name in _BLOCKS if name in fields}
    return deployments.wire({**fields, **ids}, v2=session.facts.is_v2)


def _active(fields: Fields) -> bool:
    """Tell whether a schedule is on."""
    return any(item.get("active", True) for item in _list(fields.get("schedules")))


async def _refill(
    session: Session, id_: str, seen: refill.Seen, fields: Fields, seconds: float
) -> None:
    """Refill, also while we are being stopped: the write is done, its runs are missing."""
    active = _active(fields)
    paused = bool(fields.get("paused"))
    with anyio.move_on_after(seconds, shield=True) as scope:
        await refill.refill(session.api, id_, seen, paused=paused, active=active)
    if scope.cancelled_caught:
        message = f"written, but its runs could not be scheduled again within {seconds:g} s"
        raise Overloaded(message, hint="Prefect's scheduler makes the future ones by itself")
