"""A write whose refill does not come through is reported, and a refill outlives our being stopped."""

from datetime import UTC, datetime

import anyio
import pytest

from reconciler.errors import NotFound, Overloaded
from reconciler.kinds.base import Session
from reconciler.kinds.deployment import Deployment
from reconciler.model.keys import Key
from reconciler.model.server import ServerFacts, Version

pytestmark = pytest.mark.anyio

KEY = Key.of("deployment", "etl", "nightly")
FIELDS = {"schedules": [{"cron": "@daily", "timezone": "UTC", "day_or": True, "parameters": {}}]}


class SlowApi:
    """Takes a while for scheduling, and answers everything else at once."""

    def __init__(self, seconds):
        self.facts = ServerFacts(Version(3, 8, 8), "http://prefect/api")
        self.refilling = anyio.Event()
        self.refilled = False
        self.asked = []
        self._seconds = seconds

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC)

    async def get(self, path, params=None):
        self.asked.append(path)
        await anyio.sleep(0)
        if path.startswith("/work_pools/"):
            return {"type": "process"}
        raise NotFound(path)

    async def post(self, path, body=None, **options):
        self.asked.append(path)
        if path.endswith("/schedule"):
            self.refilling.set()
            await anyio.sleep(self._seconds)
            self.refilled = True
        return {"id": "1"}

    async def post_status(self, path, body=None, **options):
        return 201, {"id": "1"}


async def test_a_refill_that_hangs_is_an_error_that_says_the_write_is_done():
    kind = Deployment(refill_seconds=0.01)
    with pytest.raises(Overloaded, match="written, but its runs"):
        await kind.create(Session(SlowApi(30)), KEY, FIELDS)


async def test_of_a_new_deployment_only_runs_that_come_soon_are_asked_for():
    far = {"schedules": [{**FIELDS["schedules"][0], "cron": "0 12 * * *"}]}
    for fields, asked in ((FIELDS, True), (far, False)):
        api = SlowApi(0)
        await Deployment().create(Session(api), KEY, fields)
        assert api.refilled is asked


async def test_many_deployments_of_one_flow_and_pool_ask_for_each_once():
    api = SlowApi(0)
    session = Session(api)
    async with anyio.create_task_group() as group:
        for number in range(9):
            key = Key.of("deployment", "etl", f"d{number}")
            group.start_soon(Deployment().create, session, key, {"work_pool_name": "pool"})
    assert api.asked.count("/work_pools/pool") == 1
    assert api.asked.count("/flows/") == 1


async def test_being_stopped_after_the_write_still_refills():
    api = SlowApi(0.05)
    async with anyio.create_task_group() as group:
        group.start_soon(Deployment().create, Session(api), KEY, FIELDS)
        await api.refilling.wait()
        group.cancel_scope.cancel()
    assert api.refilled
