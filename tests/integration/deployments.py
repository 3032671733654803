"""What the tests of the kind Deployment share: declaring, applying and comparing like the engine."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from reconciler.api.connect import connect
from reconciler.errors import AnswerLost
from reconciler.kinds.base import Session
from reconciler.kinds.deployment import Deployment
from reconciler.model.desired import Document
from reconciler.model.fingerprint import Fingerprinter
from reconciler.model.keys import Key
from reconciler.model.places import Place
from reconciler.model.problems import Severity
from reconciler.runtime.clock import SystemClock
from reconciler.settings import ConnectionSettings

KIND = Deployment()
KEY = Key.of("deployment", "etl", "nightly")
_PRINTS = Fingerprinter(b"tests")


class RecordingApi:
    """The API, which remembers what was written; repeats of busy servers don't count."""

    def __init__(self, api):
        self._api = api
        self.writes = []

    def __getattr__(self, name):
        return getattr(self._api, name)

    async def post(self, path, body=None, **options):
        return (await self.post_status(path, body, **options))[1]

    async def post_status(self, path, body=None, **options):
        if not path.endswith(("/filter", "/count")):
            self.writes.append(f"POST {path}")
        for _ in range(8):
            try:
                return await self._api.post_status(path, body, **options)
            except AnswerLost:  # a SQLite server under concurrent writes, which rolled it back
                await anyio.sleep(0.25)
        return await self._api.post_status(path, body, **options)

    async def patch(self, path, body):
        self.writes.append(f"PATCH {path}")
        return await self._api.patch(path, body)


@asynccontextmanager
async def session_with(server):
    settings = ConnectionSettings(RECONCILER_API_URL=server.url)
    async with connect(settings, SystemClock()) as api:
        yield Session(RecordingApi(api))


def document(**fields):
    return Document({"flow_name": "etl", "name": "nightly", **fields}, Place("a.yaml", 1, 1))


async def declare(session, **fields):
    parsed = KIND.parse(document(**fields))
    assert not [p for p in parsed.problems if p.severity is Severity.ERROR]
    declared, problems = await KIND.conform(parsed.declarations[0], session)
    assert problems == ()
    return declared


async def create(session, **fields):
    declared = await declare(session, **fields)
    written = await KIND.create(session, KEY, declared.fields)
    assert not written.existed
    return await KIND.read(session, KEY, written.id)


def differing(wanted, live):
    """Return the top-level fields that differ, aligned, as the planner would write them."""
    aligned = KIND.align(wanted, live.fields)
    return {
        name: value
        for name, value in aligned.items()
        if _PRINTS.of(value) != _PRINTS.of(live.fields[name])
    }


def others(live, names):
    return {name: value for name, value in live.fields.items() if name not in names}


async def update(session, live, fields):
    """Write, and return what is live then, with the requests that wrote."""
    session.api.writes.clear()
    notes = await KIND.before_update(session, live, fields)
    await KIND.update(session, live, fields)
    if notes is not None:
        notes = json.loads(json.dumps(notes))  # as the inventory keeps them
        after = replace(live, fields={**live.fields, **fields})
        await KIND.after_update(session, after, notes)
    writes = list(session.api.writes)
    return await KIND.read(session, KEY, live.id), writes


def refill_of(live):
    return f"POST /deployments/{live.id}/schedule"
