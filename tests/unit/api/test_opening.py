"""A connection made in the background, and listings asked for ahead."""

from contextlib import asynccontextmanager

import anyio
import pytest

from reconciler import errors
from reconciler.api.connect import connect
from reconciler.api.opening import Opening
from reconciler.runtime.ahead import owned
from reconciler.settings import ConnectionSettings
from tests.fakes.clock import VirtualClock
from tests.fakes.http import ScriptedServer, answer

pytestmark = pytest.mark.anyio

URL = "http://prefect.test/api"
FULL, LAST = [{"id": "1"}, {"id": "2"}], [{"id": "3"}]


def expected(api):
    api.foresee("/x/filter", {"sort": "A"}, size=2)


def server(*script):
    return ScriptedServer(answer(200, "3.8.8"), *script)


@asynccontextmanager
async def opening(scripted):
    async with owned() as group:
        connection = connect(ConnectionSettings.to(URL), VirtualClock(), transport=scripted)
        yield Opening(group, connection, expected)


async def reached(scripted, count):
    """Wait for so many requests."""
    with anyio.fail_after(5):
        while len(scripted.requests) < count:
            await anyio.sleep(0.001)


async def listing(api, body):
    return [page async for page in api.pages("/x/filter", body, size=2)]


async def test_the_server_is_asked_before_anybody_wants_the_answer():
    scripted = server(answer(200, FULL), answer(200, LAST))
    async with opening(scripted) as made:
        await reached(scripted, 2)
        async with made.take() as api:
            assert await listing(api, {"sort": "A"}) == [FULL, LAST]
    assert [scripted.body(n) for n in (1, 2)] == [
        {"sort": "A", "limit": 2, "offset": 0},
        {"sort": "A", "limit": 2, "offset": 2},
    ]
    assert len(scripted.requests) == 3


async def test_what_was_asked_ahead_is_for_one_listing_of_just_that():
    scripted = server(answer(200, LAST), answer(200, []), answer(200, FULL[:1]))
    async with opening(scripted) as made:
        await reached(scripted, 2)
        async with made.take() as api:
            assert await listing(api, {"sort": "B"}) == []
            assert await listing(api, {"sort": "A"}) == [LAST]
            assert await listing(api, {"sort": "A"}) == [FULL[:1]]


@pytest.mark.parametrize("verb", ["post", "patch", "put", "delete"])
async def test_after_a_write_what_was_asked_ahead_counts_no_more(verb):
    scripted = server(answer(200, LAST), answer(200, {}), answer(200, FULL[:1]))
    async with opening(scripted) as made:
        await reached(scripted, 2)
        async with made.take() as api:
            await getattr(api, verb)("/x/1", *([] if verb == "delete" else [{}]))
            assert await listing(api, {"sort": "A"}) == [FULL[:1]]


async def test_what_was_asked_long_ahead_counts_no_more():
    scripted = server(answer(200, LAST), answer(200, FULL[:1]))
    async with owned() as group:
        connection = connect(ConnectionSettings.to(URL), VirtualClock(), transport=scripted)
        made = Opening(group, connection, lambda api: api.foresee("/x/filter", size=2, fresh=0))
        await reached(scripted, 2)
        async with made.take() as api:
            assert await listing(api, None) == [FULL[:1]]


async def test_without_an_answer_the_failure_is_for_whoever_lists():
    scripted = server(answer(200, {}), answer(200, FULL[:1]))
    async with opening(scripted) as made, made.take() as api:
        with pytest.raises(errors.NotPrefect):
            await listing(api, {"sort": "A"})
        assert await listing(api, {"sort": "A"}) == [FULL[:1]]


async def test_why_there_is_no_connection_is_for_whoever_wants_it():
    scripted = ScriptedServer(answer(200, "2.13.0"))
    async with opening(scripted) as made:
        await reached(scripted, 1)
        with pytest.raises(errors.Unsupported):
            async with made.take():
                pass


async def test_a_connection_that_nobody_wants_is_let_go_of():
    scripted = server(answer(200, LAST))
    with anyio.fail_after(5), pytest.raises(errors.UsageError, match="wrong tree"):
        async with opening(scripted):
            raise errors.UsageError("wrong tree")


async def test_the_connection_is_closed_when_its_user_is_done():
    scripted = server(answer(200, LAST))
    async with opening(scripted) as made:
        async with made.take() as api:
            assert await listing(api, {"sort": "A"}) == [LAST]
            assert not scripted.closed
        assert made.taken
        assert scripted.closed
