"""One message when something begins to concern people, one when it is over; none twice."""

from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import anyio.to_thread
import pytest

from reconciler.app.messages import Messenger
from reconciler.controller.board import Board
from reconciler.controller.history import History
from reconciler.errors import Overloaded, Rejected
from reconciler.model.status import Concern, Message
from reconciler.settings import NotifySettings
from reconciler.telemetry.metrics import Metrics
from tests.fakes.manual_clock import ManualClock

pytestmark = pytest.mark.anyio

DRIFT = Concern("drift", "block/x/a", "env changed in the API")
OTHER = Concern("drift", "block/x/b", "env changed in the API")
HELD = Concern("held", "block/x/c", "needs proof")


class Inbox:
    """A receiver that writes down what it gets."""

    name = "the inbox"

    def __init__(self):
        self.got = []
        self.faults = []

    async def send(self, _, message):
        if self.faults:
            raise self.faults.pop(0)
        self.got.append(
            tuple(
                tuple(one.id for one in getattr(message, name))
                for name in ("begun", "ended", "healed")
            )
        )


class Bench:
    def __init__(self, folder, **settings):
        self.clock = ManualClock()
        self.board = Board(History(folder), self.clock, Metrics())
        self.inbox = Inbox()
        self.now = {}
        self.messenger = Messenger(
            self.inbox,
            self.board,
            self.clock,
            NotifySettings(**settings),
            lambda: self.now,
            lambda: Message("shop", "", None),
        )

    async def set(self, *concerns):
        """Let these concern people from now on; let their time to settle pass."""
        self.now = {one.id: one for one in concerns}
        self.board.standing = replace(self.board.standing, turned_at=self.clock.now())
        self.board.bump()
        await self.pause()

    async def pause(self, seconds=31):
        for _ in range(3):
            await idle()  # threads read and note what was told
            await self.clock.advance(seconds / 3)
        await idle()


async def idle():
    """Wait until every task waits for another one or for the clock, and no thread is at work."""
    limiter = anyio.to_thread.current_default_thread_limiter()
    await anyio.wait_all_tasks_blocked()
    while limiter.borrowed_tokens:
        await anyio.sleep(0.001)
        await anyio.wait_all_tasks_blocked()


@asynccontextmanager
async def running(bench):
    async with anyio.create_task_group() as group:
        group.start_soon(bench.messenger.run)
        yield bench
        group.cancel_scope.cancel()
    bench.board.history.close()


async def test_there_is_one_message_when_it_begins_and_one_when_it_ends(tmp_path):
    async with running(Bench(tmp_path)) as bench:
        for _ in range(3):
            await bench.set(DRIFT)
        await bench.set(DRIFT, OTHER)
        await bench.set()
        await bench.set()
    assert bench.inbox.got == [
        ((DRIFT.id,), (), ()),
        ((OTHER.id,), (), ()),
        ((), (DRIFT.id, OTHER.id), ()),
    ]


async def test_a_restart_repeats_nothing_and_tells_what_ended_meanwhile(tmp_path):
    async with running(Bench(tmp_path)) as bench:
        await bench.set(DRIFT)
    async with running(Bench(tmp_path)) as again:
        await again.set(DRIFT)
    assert again.inbox.got == []
    async with running(Bench(tmp_path)) as later:
        await later.set()
    assert later.inbox.got == [((), (DRIFT.id,), ())]


async def test_nothing_is_told_before_the_first_look(tmp_path):
    async with running(Bench(tmp_path)) as bench:
        await bench.set(DRIFT)
    async with running(Bench(tmp_path)) as again:
        again.board.bump()  # nothing is known yet, so nothing has ended
        await again.pause()
    assert again.inbox.got == []


async def test_what_passes_at_once_is_not_told(tmp_path):
    async with running(Bench(tmp_path)) as bench:
        await bench.set()
        bench.now = {DRIFT.id: DRIFT}
        bench.board.bump()
        await bench.pause(15)
        bench.now = {}
        bench.board.bump()
        await bench.pause()
    assert bench.inbox.got == []


async def test_healed_drift_is_told_once_though_it_does_not_last(tmp_path):
    async with running(Bench(tmp_path)) as bench:
        bench.messenger.heal([Concern("healed", "block/x/a", "env"), DRIFT])
        await bench.set()
        await bench.set()
    assert bench.inbox.got == [((), (), ("healed:block/x/a", DRIFT.id))]


async def test_only_what_was_chosen_is_told(tmp_path):
    async with running(Bench(tmp_path)) as bench:
        await bench.set(HELD)
    assert bench.inbox.got == []
    async with running(Bench(tmp_path / "b", on=("held",))) as bench:
        await bench.set(HELD, DRIFT)
    assert bench.inbox.got == [((HELD.id,), (), ())]


async def test_a_receiver_that_is_away_for_a_while_misses_nothing(tmp_path):
    async with running(Bench(tmp_path)) as bench:
        bench.inbox.faults = [Overloaded("busy", retry_after=20), Overloaded("busy")]
        await bench.set(DRIFT)
        await bench.pause(100)
    assert bench.inbox.got == [((DRIFT.id,), (), ())]


async def test_a_receiver_that_refuses_is_not_asked_for_ever(tmp_path):
    async with running(Bench(tmp_path)) as bench:
        bench.inbox.faults = [Rejected("no such channel", status=404)]
        await bench.set(DRIFT)
        await bench.set(DRIFT)
        await bench.set(DRIFT, OTHER)
    assert bench.inbox.got == [((OTHER.id,), (), ())]
