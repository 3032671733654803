"""The board: what people see after each turn, and what the history keeps of it."""

from datetime import UTC, datetime

import anyio
import pytest

from reconciler.controller.board import Board
from reconciler.controller.history import History
from reconciler.errors import InvalidManifests, SourceUnavailable
from reconciler.model.status import ApplyResult, DriftEnd, ResourceState
from reconciler.telemetry.metrics import Metrics
from tests.fakes.following import Following, revision
from tests.fakes.manual_clock import ManualClock

pytestmark = pytest.mark.anyio

T0 = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "deployment/etl/nightly"
REPORT = "name: prod\ndrift: report\n"
GOOD, BETTER = revision("description: good", "1"), revision("description: better", "2")
BROKEN = revision("description: [", "3")
REPORTED = revision("description: good", "1", REPORT)


class Service:
    def __init__(self, folder, *snapshots, fault=None):
        self.following = Following(*snapshots, fault=fault)
        self.clock, self.folder = ManualClock(), folder
        self.history = History(folder)
        self.metrics = Metrics()
        self.board = Board(self.history, self.clock, self.metrics)

    async def turn(self):
        self.following.follower.suspended = self.board.standing.suspended
        began = self.clock.now()
        turn = await self.following.turn()
        await self.clock.advance(1)
        await self.board.turn(turn, self.following.follower.desired, began)
        return self.board.standing

    def restart(self):
        self.history.close()
        self.history = History(self.folder)
        self.board = Board(self.history, self.clock, self.metrics)

    @property
    def drifts(self):
        return [(d.path, d.cause, d.before, d.after, d.end) for d in self.history.drifts()]


@pytest.fixture
def service(tmp_path):
    made = []

    def make(*snapshots, **more):
        made.append(Service(tmp_path, *snapshots, **more))
        return made[-1]

    yield make
    for each in made:
        each.history.close()


def states(standing):
    return {str(one.key): one.state for one in standing.resources}


async def test_what_was_applied_is_in_sync_with_its_place_and_one_record(service):
    here = service(GOOD)
    standing = await here.turn()
    [resource] = standing.resources
    assert (str(resource.key), resource.state) == (KEY, ResourceState.IN_SYNC)
    assert resource.source.file == "things.yaml"
    assert standing.revision == GOOD.revision
    assert standing.converged_at == standing.turned_at == here.clock.now()
    [apply] = here.history.applies()
    assert (apply.result, apply.summary["done"]) == (ApplyResult.CONVERGED, 1)
    assert (apply.ended - apply.started).total_seconds() == 1
    assert here.history.apply(apply.id)[1]["changes"][0]["key"] == KEY
    await here.turn()
    assert len(here.history.applies()) == 1, "a turn that does nothing is no record"


async def test_a_healed_drift_has_begun_and_ended_in_one_turn(service):
    here = service(GOOD)
    await here.turn()
    here.following.live = "by hand"
    assert states(await here.turn()) == {KEY: ResourceState.IN_SYNC}
    assert here.drifts == [("description", "drift", "by hand", "good", DriftEnd.HEALED)]


async def test_a_reported_drift_lasts_from_when_it_was_first_seen(service):
    here = service(REPORTED)
    await here.turn()
    here.following.live = "by hand"
    assert states(await here.turn()) == {KEY: ResourceState.DRIFTED}
    first = here.history.drifts()[0].first_seen
    here.restart()
    await here.turn()
    [drift] = here.history.drifts()
    assert (drift.first_seen, drift.ended, drift.policy) == (first, None, "report")
    here.following.live = "good"
    assert states(await here.turn()) == {KEY: ResourceState.IN_SYNC}
    [drift] = here.history.drifts()
    assert (drift.end, drift.ended) == (DriftEnd.GONE, here.clock.now())


async def test_an_object_that_somebody_deleted_is_a_drift_of_the_whole(service):
    here = service(GOOD)
    await here.turn()
    here.following.server.objects.clear()
    standing = await here.turn()
    assert states(standing)[KEY] is ResourceState.IN_SYNC
    assert here.drifts == [("", "drift", None, None, DriftEnd.HEALED)]


async def test_suspension_shows_what_waits_and_outlives_a_restart(service):
    here = service(GOOD, BETTER)
    await here.turn()
    here.board.suspend(True)
    standing = await here.turn()
    assert states(standing) == {KEY: ResourceState.OUT_OF_SYNC}
    assert here.following.live == "good"
    here.restart()
    assert here.board.standing.suspended


async def test_a_broken_revision_is_one_record_and_the_standing_stays(service):
    here = service(GOOD, BROKEN)
    await here.turn()
    for _ in range(3):
        standing = await here.turn()
    assert isinstance(standing.error, InvalidManifests)
    assert standing.problems
    assert standing.revision == GOOD.revision
    assert states(standing) == {KEY: ResourceState.IN_SYNC}
    assert [one.result for one in here.history.applies()] == [
        ApplyResult.PARTIAL,
        ApplyResult.CONVERGED,
    ]


async def test_a_server_that_is_away_leaves_what_was_known(service):
    down = []
    here = service(GOOD, fault=lambda _: "503" if down else None)
    converged_at = (await here.turn()).converged_at
    down.append(True)
    standing = await here.turn()
    assert standing.error is not None
    assert standing.converged_at == converged_at
    assert states(standing) == {KEY: ResourceState.IN_SYNC}


async def test_a_remote_that_is_away_ends_no_drift_and_no_standing(service):
    here = service(SourceUnavailable("away"))
    standing = await here.turn()
    assert standing.resources == ()
    assert standing.error.message == "away"
    assert here.history.applies()[0].result is ApplyResult.FAILED


async def test_a_full_disk_is_said_and_stops_nothing(service):
    here = service(GOOD, BETTER)
    await here.turn()
    here.history._db.execute("PRAGMA query_only = ON")
    standing = await here.turn()
    assert "can't be used" in standing.history_error
    assert here.following.live == "better"
    here.history._db.execute("PRAGMA query_only = OFF")
    assert (await here.turn()).history_error is None


async def test_resources_are_counted_by_state(service):
    here = service(REPORTED)
    await here.turn()
    here.following.live = "by hand"
    await here.turn()
    value = here.metrics.registry.get_sample_value
    assert value("reconciler_resources", {"state": "drifted"}) == 1
    assert value("reconciler_drifted_resources") == 1


async def test_who_waits_for_news_gets_it_with_the_turn(service):
    here = service(GOOD)
    seen = []
    here.board.watch(lambda before, after: seen.append((before.revision, after.revision)))
    async with anyio.create_task_group() as group:
        version = here.board.version

        async def wait():
            assert await here.board.changed(version) > version

        group.start_soon(wait)
        await here.turn()
    assert seen == [(None, GOOD.revision)]
