"""What the tests of the kind Block share: declaring and writing like the engine."""

from contextlib import asynccontextmanager

from reconciler.api.connect import connect
from reconciler.kinds.base import Session
from reconciler.kinds.block import Block
from reconciler.model.desired import Document
from reconciler.model.fingerprint import Fingerprinter
from reconciler.model.places import Place
from reconciler.model.values import leaves
from reconciler.runtime.clock import SystemClock
from reconciler.settings import ConnectionSettings
from tests.fakes.block_fields import FIELDS, REQUIRED
from tests.integration.deployments import RecordingApi

KIND = Block()
_PRINTS = Fingerprinter(b"tests")


@asynccontextmanager
async def session_with(server, *, secrets=True):
    settings = ConnectionSettings(RECONCILER_API_URL=server.url)
    async with connect(settings, SystemClock()) as api:
        yield Session(RecordingApi(api), secrets=secrets)


def document(slug, name, data):
    value = {"block_type_slug": slug, "name": name, "data": data}
    return Document(value, Place("a.yaml", 1, 1))


async def declare(session, slug, name, data):
    parsed = KIND.parse(document(slug, name, data))
    assert parsed.problems == ()
    declared, problems = await KIND.conform(parsed.declarations[0], session)
    assert problems == ()
    return declared


async def problems_of(session, slug, name, data):
    parsed = KIND.parse(document(slug, name, data))
    if parsed.problems:
        return [str(p) for p in parsed.problems]
    _, problems = await KIND.conform(parsed.declarations[0], session)
    return [str(p) for p in problems]


async def create(session, slug, name, data):
    declared = await declare(session, slug, name, data)
    await KIND.create(session, declared.key, declared.fields)
    return declared, await KIND.find(session, declared.key)


async def create_targets(session, slug):
    """Create the documents that the test values of a type refer to."""
    values = (*FIELDS[slug].values(), *REQUIRED.get(slug, {}).values())
    targets = {v["$ref"].split("/")[0] for v in values if isinstance(v, dict) and "$ref" in v}
    for referred in sorted(targets):
        await create(session, referred, "target", REQUIRED.get(referred, {}))


def same(one, other):
    """Whether two field trees have equal fingerprints, as the engine compares them."""
    return _PRINTS.of(one) == _PRINTS.of(other)


def paths(fields):
    return {path for path, _ in leaves(fields)}


async def listed(session):
    return {live.key: live async for live in KIND.listing(session)}
