"""Ends: one watcher tells, many wait."""

import anyio
import pytest

from reconciler.infrastructure.base import Ends
from reconciler.model.launch import Ended

pytestmark = pytest.mark.anyio

FIRST, SECOND = Ended(0, "it completed"), Ended(1, "it failed")


async def test_an_end_that_comes_first_is_kept():
    ends = Ends()
    ends.tell("a", FIRST)
    assert await ends.wait("a") == FIRST


async def test_all_who_wait_learn_of_an_end():
    ends, seen = Ends(), []

    async def wait():
        seen.append(await ends.wait("a"))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert ends.awaited == ("a",)
        ends.tell("b", SECOND)
        assert seen == []
        ends.tell("a", FIRST)
    assert seen == [FIRST, FIRST]
    assert ends.awaited == ()


async def test_the_first_word_on_an_end_counts():
    ends = Ends()
    ends.tell("a", FIRST)
    ends.tell("a", SECOND)
    assert await ends.wait("a") == FIRST


async def test_a_wait_that_was_given_up_can_be_taken_up_again():
    ends = Ends()
    with anyio.move_on_after(0):
        await ends.wait("a")
    ends.tell("a", FIRST)
    assert await ends.wait("a") == FIRST


async def test_what_is_forgotten_is_awaited_no_more():
    ends = Ends()
    with anyio.move_on_after(0):
        await ends.wait("a")
    ends.forget("a")
    assert ends.awaited == ()
