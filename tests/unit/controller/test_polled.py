"""A polled source: asked in the background, one question at a time, and it remembers."""

import anyio
import pytest

from reconciler.controller.polled import PolledSource
from reconciler.errors import SourceError, SourceUnavailable, StaleRevision
from reconciler.runtime.clock import SystemClock
from tests.fakes.source import ScriptedSource, snapshot_of

pytestmark = pytest.mark.anyio

ONE, TWO = (snapshot_of({"a.yaml": text}, revision=text * 40) for text in "12")
AWAY = SourceUnavailable("the remote is away")


class Remembering(ScriptedSource):
    """Has what an earlier process fetched; questions can be held up."""

    def __init__(self, *snapshots, remembered=None):
        super().__init__(*snapshots)
        self.remembered = remembered
        self.asked, self.go = anyio.Event(), anyio.Event()
        self.go.set()
        self.together = self.most = 0

    async def fetch(self):
        self.together += 1
        self.most = max(self.most, self.together)
        self.asked.set()
        await self.go.wait()
        self.together -= 1
        return await super().fetch()

    async def last_good(self):
        if isinstance(self.remembered, Exception):
            raise self.remembered
        return self.remembered


class Polling:
    def __init__(self, *snapshots, seconds=3600, **more):
        self.source = Remembering(*snapshots, **more)
        self.polled = PolledSource(self.source, SystemClock(), seconds)
        self.changes = 0

    def change(self):
        self.changes += 1

    async def __aenter__(self):
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self.polled.run, self.change)
        return self

    async def __aexit__(self, *_):
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(None, None, None)

    async def asked_again(self):
        self.source.asked = anyio.Event()
        before = self.source.fetches
        self.polled.wake()
        while self.source.fetches == before:
            await anyio.sleep(0.001)
        await anyio.sleep(0.001)


async def test_it_says_what_was_found_last_and_asks_nobody():
    async with Polling(ONE, TWO) as polling:
        for _ in range(3):
            assert await polling.polled.fetch() == ONE
        assert polling.source.fetches == 1
        await polling.asked_again()
        assert await polling.polled.fetch() == TWO


async def test_only_an_answer_that_says_something_new_is_told():
    async with Polling(ONE, ONE, TWO, AWAY, AWAY, TWO) as polling:
        await polling.polled.fetch()
        told = [polling.changes]
        for _ in range(5):
            await polling.asked_again()
            told.append(polling.changes)
    assert told == [1, 1, 2, 3, 3, 4]


async def test_wishes_during_a_question_are_one_more_question():
    async with Polling(ONE) as polling:
        await polling.polled.fetch()
        polling.source.go = anyio.Event()
        polling.source.asked = anyio.Event()
        polling.polled.wake()
        await polling.source.asked.wait()
        for _ in range(50):
            polling.polled.wake()
        polling.source.go.set()
        await anyio.sleep(0.05)
    assert polling.source.fetches == 3
    assert polling.source.most == 1


async def test_it_asks_by_itself_every_so_often():
    async with Polling(ONE, seconds=0.01) as polling:
        await anyio.sleep(0.2)
    assert polling.source.fetches > 3


async def test_an_error_comes_out_until_it_is_over():
    async with Polling(ONE, AWAY, ONE) as polling:
        await polling.polled.fetch()
        await polling.asked_again()
        for _ in range(2):
            with pytest.raises(SourceUnavailable):
                await polling.polled.fetch()
        fetched_at = polling.polled.fetched_at
        await polling.asked_again()
        assert await polling.polled.fetch() == ONE
        assert polling.polled.fetched_at > fetched_at


async def test_after_a_restart_what_was_fetched_last_is_handed_out_once():
    async with Polling(AWAY, remembered=ONE) as polling:
        assert await polling.polled.fetch() == ONE
        assert polling.polled.error is AWAY
        with pytest.raises(SourceUnavailable):
            await polling.polled.fetch()


@pytest.mark.parametrize("remembered", [None, SourceError("not signed")])
async def test_without_anything_to_remember_there_is_the_error_alone(remembered):
    async with Polling(AWAY, remembered=remembered) as polling:
        with pytest.raises(SourceUnavailable):
            await polling.polled.fetch()


async def test_what_nobody_foresaw_ends_it_and_is_not_taken_for_an_answer():
    polling = Polling(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await polling.polled.run(polling.change)
    assert polling.polled.snapshot is None


# -- several replicas ------------------------------------------------------------------------------


async def test_what_was_handed_out_is_confirmed_as_long_as_it_is_the_newest():
    async with Polling(ONE, ONE, TWO) as polling:
        await polling.polled.fetch()
        assert await polling.polled.confirm()
        with pytest.raises(StaleRevision):
            await polling.polled.confirm()
        await anyio.sleep(0.05)
        assert polling.changes == 2  # whoever follows takes the newer one next
        assert await polling.polled.fetch() == TWO
        assert await polling.polled.confirm()


async def test_where_the_remote_is_away_nobody_knows():
    async with Polling(ONE, AWAY, ONE) as polling:
        await polling.polled.fetch()
        assert not await polling.polled.confirm()
        assert await polling.polled.confirm()


async def test_a_confirmation_and_a_question_are_not_asked_at_once():
    async with Polling(ONE) as polling:
        await polling.polled.fetch()
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(polling.polled.confirm)
                polling.polled.wake()
    assert polling.source.most == 1
