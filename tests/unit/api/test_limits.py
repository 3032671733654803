import asyncio
from functools import partial

import anyio
import pytest

from reconciler.api.limits import Aimd, Limiter


def test_the_limit_grows_by_one_in_a_round_of_answers():
    aimd = Aimd(limit=4)
    for _ in range(5):
        aimd.succeeded(running=aimd.allowed)
    assert aimd.allowed == 5


def test_an_idle_client_learns_nothing():
    aimd = Aimd(limit=4)
    for _ in range(100):
        aimd.succeeded(running=1)
    assert aimd.limit == 4


def test_an_overload_halves_the_limit_once_for_all_requests_under_way():
    aimd = Aimd(limit=16)
    started_in = aimd.epoch
    for _ in range(16):
        aimd.overloaded(started_in)
    assert aimd.limit == 8


def test_a_request_started_after_the_cut_can_cut_again():
    aimd = Aimd(limit=16)
    aimd.overloaded(aimd.epoch)
    aimd.overloaded(aimd.epoch)
    assert aimd.limit == 4


def test_the_limit_never_falls_below_one():
    aimd = Aimd(limit=2)
    for _ in range(10):
        aimd.overloaded(aimd.epoch)
    assert aimd.allowed == 1


def test_writes_start_at_one_and_grow_slowly():
    aimd = Aimd.for_writes()
    assert aimd.allowed == 1
    for _ in range(6):
        aimd.succeeded(running=1)
    assert aimd.allowed == 1
    for _ in range(6):
        aimd.succeeded(running=1)
    assert aimd.allowed == 2


def test_a_limit_that_was_too_much_is_remembered_for_a_while():
    aimd = Aimd(limit=4, growth=1, memory=50)
    aimd.overloaded(aimd.epoch)
    for _ in range(50):
        aimd.succeeded(running=aimd.allowed)
    assert aimd.limit == 3
    for _ in range(4):
        aimd.succeeded(running=aimd.allowed)
    assert aimd.allowed == 4


def test_a_server_that_bears_one_write_is_rarely_tried_with_two():
    aimd, vain = Aimd.for_writes(), 0
    for _ in range(1000):
        if aimd.allowed > 1:
            vain += 1
            aimd.overloaded(aimd.epoch)
        else:
            aimd.succeeded(running=1)
    assert 1 <= vain <= 5


@pytest.mark.anyio
async def test_a_server_is_strained_while_it_refuses_and_more_waits():
    limiter = Limiter(Aimd.for_writes())
    seen = []

    async def write(*, refused):
        async with limiter.slot() as slot:
            slot.answered, slot.overloaded = not refused, refused
            await anyio.lowlevel.checkpoint()
            seen.append(limiter.strained)

    async def writes(*refused):
        seen.clear()
        async with anyio.create_task_group() as group:
            for each in refused:
                group.start_soon(partial(write, refused=each))
        return seen

    assert await writes(False, False) == [False, False]  # nobody was refused
    assert await writes(True, False, False) == [False, True, False]  # the last: nobody waits
    assert not limiter.strained


@pytest.mark.anyio
async def test_what_is_urgent_does_not_wait():
    limiter = Limiter(Aimd(limit=1, highest=1))
    async with limiter.slot():
        with anyio.fail_after(5):
            async with limiter.slot(urgent=True):
                assert limiter.running == 2
    assert limiter.running == 0


@pytest.mark.anyio
async def test_no_more_run_than_are_allowed():
    limiter, most = Limiter(Aimd(limit=3, highest=3)), 0

    async def work():
        nonlocal most
        async with limiter.slot():
            most = max(most, limiter.running)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(work)
    assert most == 3
    assert limiter.running == 0


@pytest.mark.anyio
async def test_slots_are_given_in_the_order_of_asking():
    limiter, order = Limiter(Aimd(limit=1, highest=1)), []

    async def work(number):
        async with limiter.slot():
            order.append(number)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(work, number)
    assert order == list(range(8))


@pytest.mark.anyio
async def test_a_cancelled_wait_leaves_no_gap():
    limiter = Limiter(Aimd(limit=1, highest=1))
    async with limiter.slot():
        with anyio.move_on_after(0.01):
            async with limiter.slot():
                raise AssertionError("there is no second slot")
    async with limiter.slot():
        assert limiter.running == 1
    assert limiter.running == 0


@pytest.mark.anyio
async def test_a_wait_cancelled_in_the_moment_of_its_turn_gives_the_slot_back():
    limiter = Limiter(Aimd(limit=1, highest=1))

    async def work():
        async with limiter.slot():
            raise AssertionError("it was cancelled before")

    async with limiter.slot():
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
    task.cancel()  # its turn has come, and it has not run since
    await asyncio.wait([task])
    assert task.cancelled()
    assert limiter.running == 0


@pytest.mark.anyio
async def test_slots_teach_the_limit():
    limiter = Limiter(Aimd(limit=1))
    async with limiter.slot() as slot:
        slot.answered = True
    assert limiter.aimd.limit == 2
    async with limiter.slot() as slot:
        slot.overloaded = True
    assert limiter.aimd.limit == 1
