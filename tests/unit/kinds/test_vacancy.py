"""Whether names are free, asked for several creates by one request."""

import pytest

from reconciler.errors import Transient
from reconciler.kinds.base import Session
from reconciler.kinds.base.vacancy import SOME, is_free, lots
from reconciler.model.keys import Key
from reconciler.runtime.together import together

pytestmark = pytest.mark.anyio

KEYS = [Key.of("deployment", "etl", f"d{n}") for n in range(2 * SOME + 7)]


class Server:
    """Answers which names are free, and keeps what it was asked."""

    def __init__(self, taken=()):
        self.taken, self.asked, self.failures = set(taken), [], 0

    async def __call__(self, keys):
        self.asked.append(list(keys))
        if self.failures:
            self.failures -= 1
            raise Transient("away")
        return frozenset(keys) - self.taken


def session(keys=KEYS):
    return Session(None, coming=lots(keys))


async def test_some_are_asked_for_at_a_time_each_once():
    server, mine = Server(), session()
    assert all(await together(lambda k=k: is_free(mine, k, server) for k in KEYS))
    assert [len(asked) for asked in server.asked] == [SOME, SOME, 7]
    assert sorted(key for asked in server.asked for key in asked) == sorted(KEYS)


async def test_what_is_taken_is_not_free_and_its_neighbours_are():
    server, mine = Server(taken=[KEYS[3]]), session()
    free = await together(lambda k=k: is_free(mine, k, server) for k in KEYS)
    assert [key for key, one in zip(KEYS, free, strict=True) if not one] == [KEYS[3]]


async def test_an_answer_is_good_for_one_create():
    """After a lost answer the object may be there: the second try has to look for itself."""
    server, mine = Server(), session()
    assert await is_free(mine, KEYS[0], server)
    assert not await is_free(mine, KEYS[0], server)
    assert len(server.asked) == 1


async def test_only_names_of_the_same_kind_are_asked_for():
    other = Key.of("block", "process", "b")
    server, mine = Server(), session([KEYS[0], other, *KEYS[1:3]])
    assert await is_free(mine, KEYS[0], server)
    assert server.asked == [KEYS[:3]]


async def test_a_look_that_failed_is_tried_again_by_the_next_one():
    server, mine = Server(), session(KEYS[:3])
    server.failures = 1
    with pytest.raises(Transient):
        await is_free(mine, KEYS[0], server)
    assert await is_free(mine, KEYS[1], server)
    assert not await is_free(mine, KEYS[0], server)  # which has to look for itself
