"""One writer at a time."""

import anyio
import pytest

from reconciler.engine.apply import apply
from reconciler.engine.lease import TTL, Lease, unlock
from reconciler.errors import AnswerLost, LeaseHeld, LeaseLost, Overloaded
from reconciler.model.report import Result
from tests.fakes.bench import BLOCK, DEPLOYMENT, Bench, declare, tree
from tests.fakes.manual_clock import ManualClock
from tests.fakes.prefect_memory import MemoryApi, MemoryPrefect

pytestmark = pytest.mark.anyio


def lease(server, holder="me", *, clock=None, fault=None, **options):
    return Lease(MemoryApi(server, fault), clock or ManualClock(), "prod", holder, **options)


def records(server):
    return [d["data"]["holder"] for d in server.records("reconciler-lease")]


async def test_a_lease_is_there_while_it_is_held_and_gone_after():
    server = MemoryPrefect()
    async with lease(server) as mine:
        mine.check()
        assert records(server) == ["me"]
    assert records(server) == []


async def test_a_second_writer_is_told_who_holds_it():
    server = MemoryPrefect()
    async with lease(server):
        with pytest.raises(LeaseHeld, match="me is writing prod") as error:
            async with lease(server, "you"):
                pass
    assert "--lock-timeout" in error.value.hint


async def test_a_second_writer_may_wait():
    server, clock = MemoryPrefect(), ManualClock()
    order = []

    async def second():
        async with lease(server, "you", clock=clock, wait=30):
            order.append("you")

    async with anyio.create_task_group() as group:
        async with lease(server, clock=clock):
            group.start_soon(second)
            await clock.advance(5)
            order.append("me")
        await clock.advance(5)
    assert order == ["me", "you"]


async def test_a_dead_holder_is_replaced_by_the_servers_clock():
    server = MemoryPrefect()
    async with lease(server):
        server.tick(TTL + 2)
        async with lease(server, "you"):
            assert records(server) == ["you"]


async def test_of_many_contenders_for_a_dead_lease_one_wins():
    server = MemoryPrefect()
    winners = []

    async def contend(name):
        try:
            async with lease(server, name):
                winners.append(name)
                await anyio.sleep(0.2)
        except LeaseHeld:
            pass

    async with lease(server, "dead"):
        server.tick(TTL + 2)
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(contend, f"c{number}")
    assert len(winners) == 1


async def test_it_is_renewed_for_as_long_as_it_is_held():
    server, clock = MemoryPrefect(), ManualClock()
    async with lease(server, clock=clock) as mine:
        for _ in range(10):
            await clock.advance(TTL / 2)
            server.tick(TTL / 2)
            mine.check()


async def test_a_stolen_lease_is_noticed_and_said_at_once():
    server, clock = MemoryPrefect(), ManualClock()
    told = []
    async with lease(server, clock=clock) as mine:
        mine.on_lost(lambda: told.append("lost"))
        server.documents.clear()
        await clock.advance(TTL / 4)
        assert told == ["lost"]
        with pytest.raises(LeaseLost, match="another writer took it"):
            mine.check()


async def test_the_server_is_asked_before_the_inventory_is_written():
    server = MemoryPrefect()
    async with lease(server) as mine:
        await mine.confirm()
        server.documents.clear()
        mine.check()  # it does not know yet
        with pytest.raises(LeaseLost):
            await mine.confirm()


async def test_a_lease_that_can_not_be_renewed_is_lost_before_others_may_take_it():
    server, clock = MemoryPrefect(), ManualClock()
    async with lease(
        server, clock=clock, fault=lambda r: "503" if r.method == "PATCH" else None
    ) as mine:
        await clock.advance(TTL * 0.6)
        mine.check()
        await clock.advance(TTL * 0.1)
        with pytest.raises(LeaseLost, match="renewed in time"):
            mine.check()
    assert records(server) == ["me"]  # not ours to delete any more


async def test_a_frozen_process_finds_its_lease_lost():
    clock = ManualClock()
    async with lease(MemoryPrefect(), clock=clock) as mine:
        clock._passed += TTL  # the machine was suspended
        with pytest.raises(LeaseLost):
            mine.check()


async def test_a_lost_answer_to_the_create_is_looked_up():
    server = MemoryPrefect()

    def lost(request):
        return "lost" if request.path == "/block_documents/" else None

    async with lease(server, fault=lost) as mine:
        mine.check()
        assert records(server) == ["me"]


async def test_answers_that_stay_lost_end_in_an_error():
    server = MemoryPrefect()

    def lost(request):
        if request.path != "/block_documents/":
            return None
        server.documents.clear()
        return "lost"

    def gone(request):
        server.documents.clear()
        return lost(request)

    with pytest.raises(AnswerLost):
        async with lease(server, fault=gone):
            pass


async def test_a_release_that_fails_leaves_the_lease_to_die():
    server = MemoryPrefect()
    async with lease(server, fault=lambda r: "503" if r.method == "DELETE" else None):
        pass
    assert records(server) == ["me"]


async def test_an_error_inside_passes_as_itself():
    with pytest.raises(Overloaded):
        async with lease(MemoryPrefect()):
            raise Overloaded("busy")


async def test_unlock_frees_only_a_dead_holder():
    server = MemoryPrefect()
    api = MemoryApi(server)
    assert await unlock(api, "prod") is None
    async with lease(server):
        with pytest.raises(LeaseHeld):
            await unlock(api, "prod")
        server.tick(TTL + 2)
        assert (await unlock(api, "prod"))["holder"] == "me"
        assert records(server) == []


async def test_a_lease_stolen_in_the_middle_stops_every_write_and_the_report_is_right():
    bench, clock = Bench(), ManualClock()
    desired = tree(declare(BLOCK, data={}), declare(DEPLOYMENT, tags=[]))

    def stolen(request):
        if request.method == "POST" and request.path == "/things/":
            for document in bench.server.records("reconciler-lease"):
                del bench.server.documents[document["id"]]

    plan, desired, observed, access = await bench.look(desired, fault=stolen)
    real = access.kinds["block"]

    class Slow:
        """The lease is seen to be lost while a write is under way."""

        def __getattr__(self, name):
            return getattr(real, name)

        async def create(self, session, key, fields):
            written = await real.create(session, key, fields)
            await clock.advance(TTL / 2)
            await anyio.sleep_forever()
            return written

    kinds = {**access.kinds, "block": Slow()}
    access = type(access)(access.session, kinds, access.store, access.clock)
    async with Lease(access.session.api, clock, "prod", "me") as mine:
        report = await apply(plan, desired, observed, access, mine)
    assert "lost" in report.error
    assert report.of(BLOCK).result is Result.SKIPPED
    assert not report.converged
    assert (await bench.apply(desired)).converged
    assert len(bench.server.objects) == 2
    assert (await bench.plan(desired)).empty
