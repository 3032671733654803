"""Tasks that a scope owns, and items made ahead."""

from contextlib import aclosing

import anyio
import pytest

from reconciler.runtime.ahead import Ahead, owned

pytestmark = pytest.mark.anyio

GONE = RuntimeError("gone")


@pytest.mark.parametrize("failure", [ValueError("mine"), SystemExit(3), KeyboardInterrupt()])
async def test_what_is_raised_inside_stays_itself(failure):
    async def work():
        async with owned() as group:
            group.start_soon(anyio.sleep_forever)
            raise failure

    with pytest.raises(type(failure)) as raised:
        await work()
    assert raised.value is failure


async def test_what_is_left_ends_with_its_owner():
    ended = []

    async def endless():
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(True)

    async with owned() as group:
        group.start_soon(endless)
        await anyio.lowlevel.checkpoint()
    assert ended == [True]


async def test_it_can_be_cancelled_from_outside():
    with anyio.move_on_after(0.01) as scope:
        async with owned():
            await anyio.sleep_forever()
    assert scope.cancelled_caught


class Source:
    """Counts, and remembers how far it came and whether it was ended."""

    def __init__(self, count, failure=None):
        self.count, self.failure, self.made, self.ended = count, failure, [], False

    async def __call__(self):
        try:
            for number in range(self.count):
                await anyio.lowlevel.checkpoint()
                self.made.append(number)
                yield number
            if self.failure is not None:
                raise self.failure
        finally:
            self.ended = True


async def settled():
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("waiting", [0, 2, 30])
async def test_every_item_comes_once_and_in_order(waiting):
    async with owned() as group:
        ahead = Ahead(group, Source(9), GONE, waiting=waiting)
        assert [item async for item in ahead.items()] == list(range(9))


@pytest.mark.parametrize("waiting", [0, 2])
async def test_so_many_are_made_ahead_and_no_more(waiting):
    source = Source(9)
    async with owned() as group:
        ahead = Ahead(group, source, GONE, waiting=waiting)
        await settled()
        assert len(source.made) == waiting + 1
        async with aclosing(ahead.items()) as items:
            assert await anext(items) == 0
            await settled()
            assert len(source.made) == waiting + 2


async def test_a_failure_comes_after_what_was_made_before_it():
    got = []
    async with owned() as group:
        ahead = Ahead(group, Source(2, ValueError("no")), GONE, waiting=5)
        await settled()
        with pytest.raises(ValueError, match="no"):
            got += [item async for item in ahead.items() if not got.append(item)]
    assert got == [0, 1]


async def test_whoever_looks_no_further_ends_it():
    source = Source(9)
    async with owned() as group:
        ahead = Ahead(group, source, GONE)
        async with aclosing(ahead.items()) as items:
            await anext(items)
        await settled()
        assert source.ended
        assert len(source.made) == 2


async def test_who_waits_for_what_will_not_come_is_told():
    told = []

    async def endless():
        await anyio.sleep_forever()
        yield

    async def look(ahead):
        with pytest.raises(RuntimeError, match="gone"):
            async for _ in ahead.items():
                pass
        told.append(True)

    async with anyio.create_task_group() as others, owned() as group:
        ahead = Ahead(group, endless, GONE)
        others.start_soon(look, ahead)
        await settled()
    assert told == [True]


async def test_what_nobody_asked_for_is_dropped():
    source = Source(9)
    async with owned() as group:
        ahead = Ahead(group, source, GONE)
        await settled()
        assert not source.ended
        ahead.drop()
        await settled()
        assert source.ended


async def test_some_items_are_not_taken_for_all_when_the_owner_ends():
    got, told = [], []

    async def slowly(ahead):
        async for item in ahead.items():
            got.append(item)
            await anyio.sleep(0.01)

    async def look(ahead):
        with pytest.raises(RuntimeError, match="gone"):
            await slowly(ahead)
        told.append(True)

    async with anyio.create_task_group() as others, owned() as group:
        others.start_soon(look, Ahead(group, Source(9), GONE, waiting=1))
        await anyio.sleep(0.015)
    assert told == [True]
    assert 0 < len(got) < 9


async def test_nothing_comes_from_an_owner_that_has_ended():
    async with owned() as group:
        pass
    ahead = Ahead(group, Source(9), GONE)
    with pytest.raises(RuntimeError, match="gone"):
        await anext(ahead.items())
