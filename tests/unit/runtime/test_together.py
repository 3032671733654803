"""Several things at the same time."""

import anyio
import pytest

from reconciler.runtime.together import AT_ONCE, together

pytestmark = pytest.mark.anyio


async def test_of_many_calls_no_more_than_the_bound_are_begun():
    running, most = 0, 0

    async def call(number):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.001 * (number % 3))
        running -= 1
        return number

    def calls():
        for number in range(10 * AT_ONCE):
            yield lambda number=number: call(number)

    assert await together(calls()) == list(range(10 * AT_ONCE))
    assert most == AT_ONCE


async def test_all_calls_end_before_the_first_failure_is_raised():
    ended = []

    async def call(number):
        await anyio.sleep(0.001 * (9 - number))
        ended.append(number)
        if number in (2, 5):
            raise ValueError(number)

    with pytest.raises(ValueError, match="2"):
        await together(lambda n=n: call(n) for n in range(9))
    assert sorted(ended) == list(range(9))
