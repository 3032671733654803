"""What the tests of the engine on real servers share: a tree of YAML, planned and applied."""

from contextlib import asynccontextmanager
from pathlib import Path

from reconciler.api.connect import connect
from reconciler.controller import pipeline
from reconciler.controller.pipeline import Desk
from reconciler.engine.documents import LEASE_TYPE, Form, Records
from reconciler.engine.inventory import InventoryStore
from reconciler.engine.lease import Lease
from reconciler.kinds import KINDS
from reconciler.manifests.load import LoadOptions
from reconciler.model.wishes import Wishes
from reconciler.runtime.clock import SystemClock
from reconciler.settings import ConnectionSettings
from reconciler.source.directory import DirectorySource
from tests.testbed import seed


class Killed(BaseException):
    """The process died: nothing catches this."""


def died(error):
    if isinstance(error, Killed):
        return True
    return isinstance(error, BaseExceptionGroup) and all(map(died, error.exceptions))


class WatchedApi:
    """The real client; it remembers every call, and dies at one of them if told so."""

    def __init__(self, api):
        self._api = api
        self.calls = []
        self.answered = []
        self.die_at = 0
        self.before = True
        self.hook = None

    def __getattr__(self, name):
        return getattr(self._api, name)

    async def get(self, path, params=None):
        return await self._call("GET", path, self._api.get, path, params)

    async def post(self, path, body=None, **options):
        return (await self.post_status(path, body, **options))[1]

    async def post_status(self, path, body=None, **options):
        return await self._call("POST", path, self._api.post_status, path, body, **options)

    async def patch(self, path, body, **options):
        return await self._call("PATCH", path, self._api.patch, path, body, **options)

    async def delete(self, path):
        return await self._call("DELETE", path, self._api.delete, path)

    async def _call(self, method, path, call, *args, **options):
        self.calls.append(f"{method} {path}")
        number = len(self.calls)
        if self.die_at and (number > self.die_at or (self.before and number == self.die_at)):
            raise Killed
        if self.hook is not None:
            await self.hook(method, path)
        try:
            answer = await call(*args, **options)
            self.answered.append(f"{method} {path}")
            return answer
        finally:
            if number == self.die_at:
                raise Killed

    def writes(self):
        """Every write so far, those of the lease left out, and forget all."""
        found = [
            call
            for call in self.calls
            if not call.startswith("GET") and not call.endswith(("/filter", "/count"))
        ]
        self.calls.clear()
        return found


class Repository:
    """A directory of manifests, and the server that it is applied to."""

    def __init__(self, path: Path, api) -> None:
        self.path = path
        self.api = WatchedApi(api)
        self.secrets = {}
        self.write("reconciler.yaml", "name: prod\nsecrets: [{env: RECONCILER_SECRET_}]\n")

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    def remove(self, name: str) -> None:
        (self.path / name).unlink()

    def desk(self):
        return Desk(self.api, KINDS, SystemClock(), "tests")

    async def desired(self, wishes):
        snapshot = await DirectorySource(self.path).fetch()
        options = LoadOptions(
            secret_env=self.secrets, environment=wishes.environment, no_secrets=not wishes.secrets
        )
        return pipeline.read(snapshot, options, KINDS)

    async def planned(self, **wishes):
        wishes = Wishes(**wishes)
        return await pipeline.make_plan(self.desk(), await self.desired(wishes), wishes)

    async def plan(self, **wishes):
        return (await self.planned(**wishes)).plan

    async def apply(self, **wishes):
        planned = await self.planned(**wishes)
        return await pipeline.carry_out(self.desk(), planned, Wishes(**wishes))

    async def applied(self, **wishes):
        """Apply, and return what is known after it, too."""
        planned = await self.planned(**wishes)
        report = await pipeline.carry_out(self.desk(), planned, Wishes(**wishes))
        return report, pipeline.known_after(planned, report)

    async def touched(self, known, **wishes):
        """Apply by what the tree touches; None if that takes a whole look."""

        async def ready(plan):
            return None

        wishes = Wishes(**wishes)
        desired = await self.desired(wishes)
        return await pipeline.reconcile_touched(self.desk(), desired, wishes, known, ready)

    async def killed_at(self, number, *, before, **wishes):
        """Apply, and die at a call; tell whether it came to that call."""
        self.api.calls.clear()
        self.api.die_at, self.api.before = number, before
        try:
            await self.apply(**wishes)
        except BaseException as error:
            if not died(error):
                raise
            return True
        finally:
            self.api.die_at = 0
        return False

    def lease(self):
        return Lease(self.api, SystemClock(), "prod", "another")

    async def steal(self):
        """Do as another writer who takes us for dead."""
        records = Records(self.api, Form(LEASE_TYPE, "", ""))
        for record in await records.all():
            await records.delete(record)

    async def entries(self):
        return (await InventoryStore(self.api, "prod").load()).inventory.entries


def release(client):
    """Take away the dead holder's lease, rather than wait for its end."""
    body = {"block_types": {"slug": {"any_": ["reconciler-lease"]}}}
    for record in seed.listing(client, "block_documents", **body):
        seed.request(client, "DELETE", f"/block_documents/{record['id']}")


@asynccontextmanager
async def repository(server, path: Path):
    settings = ConnectionSettings(RECONCILER_API_URL=server.url)
    async with connect(settings, SystemClock()) as api:
        yield Repository(path, api)
