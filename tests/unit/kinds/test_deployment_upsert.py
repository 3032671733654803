"""POST of a deployment writes over one that is there: what others did since the plan must survive."""

from datetime import UTC, datetime

import pytest

from reconciler.errors import AlreadyExists, NotFound, NotPrefect
from reconciler.kinds.base import Session
from reconciler.kinds.deployment import Deployment
from reconciler.model.keys import Key
from reconciler.model.server import ServerFacts, Version

pytestmark = pytest.mark.anyio

KEY = Key.of("deployment", "etl", "nightly")
KIND = Deployment()


class OneDeployment:
    """A server with one deployment, or none."""

    def __init__(self, version, **row):
        self.facts = ServerFacts(version, "http://prefect/api")
        self.row = row and {"id": "1", "name": "nightly", "flow_id": "f", "schedules": [], **row}
        self.posted = []
        self.status = 201

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC)

    async def get(self, path, params=None):
        if path.startswith("/deployments/") and self.row:
            return self.row
        if path.startswith("/work_pools/"):
            return {"type": "prefect-agent"}
        raise NotFound(path)

    async def post(self, path, body=None, **options):
        return (await self.post_status(path, body))[1]

    async def post_status(self, path, body=None, **options):
        self.posted.append((path, body))
        return self.status, {"id": "1"}


@pytest.mark.parametrize("version", [Version(2, 20, 26), Version(3, 8, 8)])
async def test_a_write_that_needs_a_post_carries_what_is_live_by_then(version):
    api = OneDeployment(version, paused=False, description="as planned")
    live = await KIND.read(Session(api), KEY, "1")
    api.row |= {"paused": True, "description": "changed since"}
    await KIND.update(Session(api), live, {"parameters": {"x": {"__prefect_kind": "jinja"}}})
    [(path, body)] = api.posted
    assert path == "/deployments/"
    assert (body["paused"], body["description"]) == (True, "changed since")
    assert body["parameters"] == {"x": {"__prefect_kind": "jinja"}}


async def test_a_deployment_deleted_since_the_plan_is_not_made_anew_by_an_update():
    api = OneDeployment(Version(3, 8, 8), paused=False)
    live = await KIND.read(Session(api), KEY, "1")
    api.row = None
    with pytest.raises(NotFound):
        await KIND.update(Session(api), live, {"labels": {"a": "b"}})
    assert api.posted == []


@pytest.mark.parametrize("count", [{}, [], None, "3", "<html>"])
async def test_active_runs_that_were_not_counted_prove_nothing(count):
    server = OneDeployment(Version(3, 8, 8), created="2026-01-01T00:00:00Z")

    async def post(path, body=None, **options):
        return count

    server.post = post
    with pytest.raises(NotPrefect):
        await KIND.evidence(Session(server), KEY, "1")


async def test_a_deployment_that_somebody_made_since_the_plan_is_not_written_over():
    api = OneDeployment(Version(3, 8, 8), paused=False)
    with pytest.raises(AlreadyExists):
        await KIND.create(Session(api), KEY, {"tags": []})
    assert api.posted == []


async def test_an_upsert_that_found_one_all_the_same_is_told():
    api = OneDeployment(Version(3, 8, 8))
    api.status = 200
    assert (await KIND.create(Session(api), KEY, {"tags": []})).existed
