"""What a kind looks up once a session."""

import anyio
import pytest

from reconciler.errors import NotFound
from reconciler.kinds.base import Session
from reconciler.runtime.together import together

pytestmark = pytest.mark.anyio


async def test_who_asks_at_the_same_time_gets_one_answer():
    asked = []

    async def ask():
        asked.append(1)
        await anyio.sleep(0)
        return len(asked)

    session = Session(None)
    assert await together(lambda: session.once("place", ask) for _ in range(9)) == [1] * 9
    assert await session.once("elsewhere", ask) == 2


async def test_a_look_up_that_failed_is_tried_again():
    answers = [None]

    async def ask():
        if answers:
            answers.pop()
            raise NotFound("not yet")
        return "there"

    session = Session(None)
    with pytest.raises(NotFound):
        await session.once("place", ask)
    assert await session.once("place", ask) == "there"
