import anyio
import pytest

from reconciler.runtime.backoff import Backoff
from reconciler.runtime.supervision import race, supervise
from tests.fakes.clock import VirtualClock

pytestmark = pytest.mark.anyio


async def test_a_task_that_fails_is_run_again_with_back_off_until_it_returns():
    clock, errors, calls = VirtualClock(), [], []

    async def job():
        calls.append(clock.monotonic())
        if len(calls) < 4:
            raise OSError(len(calls))

    await supervise(job, clock, errors.append, Backoff(first=1, jitter=0))
    assert clock.slept == [1, 2, 4]
    assert [e.args[0] for e in errors] == [1, 2, 3]


async def test_a_task_that_was_healthy_for_long_starts_its_back_off_anew():
    clock, calls = VirtualClock(), []

    async def job():
        calls.append(1)
        if len(calls) == 3:
            clock.advance(100)
        if len(calls) < 5:
            raise OSError

    await supervise(job, clock, lambda error: None, Backoff(first=1, jitter=0))
    assert clock.slept == [1, 2, 1, 2]


async def test_the_first_to_return_ends_the_race():
    ended = []

    async def slow():
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("slow")

    async def quick():
        ended.append("quick")

    await race(slow, quick)
    assert ended == ["quick", "slow"]


async def test_an_exception_comes_out_of_a_race_as_it_is():
    async def fails():
        raise KeyError("x")

    with pytest.raises(KeyError):
        await race(anyio.sleep_forever, fails)


async def test_an_exception_of_a_group_inside_a_race_comes_out_as_it_is():
    async def fails():
        async with anyio.create_task_group() as group:
            group.start_soon(inner)

    async def inner():
        raise KeyError("x")

    with pytest.raises(KeyError):
        await race(fails)
