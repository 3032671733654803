"""Tasks that a scope owns, and questions asked ahead."""

import anyio
import pytest

from reconciler.runtime.ahead import Asked, owned

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


async def test_a_failure_waits_for_whoever_asks_for_the_answer():
    async def fails():
        raise ValueError("no")

    async with owned() as group:
        asked = Asked(group, fails, GONE)
        await asked.sent()
        with pytest.raises(ValueError, match="no"):
            await asked.answer()


async def test_an_answer_is_given_as_often_as_it_is_asked_for():
    async def answers():
        return 7

    async with owned() as group:
        asked = Asked(group, answers, GONE)
        assert [await asked.answer(), await asked.answer()] == [7, 7]


@pytest.mark.parametrize("how", ["given up", "its owner ended"])
async def test_who_waits_for_what_will_not_come_is_told(how):
    told = []

    async def ask(asked):
        with pytest.raises(RuntimeError, match="gone"):
            await asked.answer()
        told.append(True)

    async with anyio.create_task_group() as others, owned() as group:
        asked = Asked(group, anyio.sleep_forever, GONE)
        await asked.sent()
        others.start_soon(ask, asked)
        await anyio.lowlevel.checkpoint()
        if how == "given up":
            asked.give_up()
            await anyio.sleep(0.01)
            assert told == [True]
    assert told == [True]
