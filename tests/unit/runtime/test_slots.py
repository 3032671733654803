import anyio
import pytest

from reconciler.runtime.slots import Slots

pytestmark = pytest.mark.anyio


async def test_no_more_slots_are_taken_than_there_are():
    slots = Slots(2)
    assert (slots.take(), slots.take(), slots.take()) == (True, True, False)
    slots.give_back()
    assert (slots.free, slots.taken) == (1, 1)


async def test_without_a_limit_there_is_always_a_slot():
    slots = Slots(None)
    assert all(slots.take() for _ in range(100))
    assert slots.free is None


async def test_what_runs_already_may_overdraw():
    slots = Slots(1)
    slots.overdraw()
    slots.overdraw()
    assert (slots.free, slots.take()) == (0, False)
    slots.give_back()
    assert slots.free == 0


async def test_who_waits_is_woken_when_a_slot_is_given_back():
    slots = Slots(1)
    slots.take()
    async with anyio.create_task_group() as group:
        group.start_soon(slots.freed)
        await anyio.lowlevel.checkpoint()
        slots.give_back()
