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
        self._seconds = seconds

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC)

    async def get(self, path, params=None):
        raise NotFound(path)

    async def post(self, path, body=None, **options):
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


async def test_being_stopped_after_the_write_still_refills():
    api = SlowApi(0.05)
    async with anyio.create_task_group() as group:
        group.start_soon(Deployment().create, Session(api), KEY, FIELDS)
        await api.refilling.wait()
        group.cancel_scope.cancel()
    assert api.refilled
