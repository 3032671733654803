"""The client against real servers: what they answer, and what we make of it."""

from contextlib import suppress

import anyio
import pytest

from reconciler import errors
from reconciler.api.client import Repeat
from reconciler.api.connect import connect
from reconciler.model.values import Secret
from reconciler.runtime.clock import SystemClock
from reconciler.settings import ConnectionSettings
from tests.testbed.fault import Fault, Rule, When
from tests.testbed.ports import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.prefect]

NOBODY = "00000000-0000-4000-8000-000000000000"


def connected(url, **settings):
    return connect(ConnectionSettings.to(url, **settings), SystemClock())


async def test_the_version_is_found_out(server):
    async with connected(server.url) as api:
        assert str(api.facts.version) == server.version
        assert api.facts.is_v2 == (server.major == 2)
        assert api.facts.automations == (server.major == 3)


async def test_automations_of_an_experimental_2_20_are_noticed(fresh_server):
    experiment = {
        "PREFECT_EXPERIMENTAL_EVENTS": "true",
        "PREFECT_API_SERVICES_TRIGGERS_ENABLED": "true",
    }
    async with connected(fresh_server(2, env=experiment).url) as api:
        assert api.facts.automations


async def test_the_servers_clock_is_never_ahead(server):
    async with connected(server.url) as api:
        for _ in range(5):
            await api.get("/health")
        behind = (SystemClock().now() - api.now()).total_seconds()
        assert -0.01 <= behind < 2.2


async def make_pool(api):
    """Create a work pool; it is not repeated by itself: a busy server's 503 leaves it open."""
    while True:
        with suppress(errors.AnswerLost):
            return await api.post("/work_pools/", {"name": "p", "type": "prefect-agent"})


async def test_upserts_and_creates(server):
    async with connected(server.url) as api:
        assert (await api.post_status("/flows/", {"name": "f"}, repeat=Repeat.SAFE))[0] == 201
        assert (await api.post_status("/flows/", {"name": "f"}, repeat=Repeat.SAFE))[0] == 200
        await make_pool(api)
        with pytest.raises(errors.AlreadyExists, match="already exists"):
            await make_pool(api)
        await api.patch("/work_pools/p", {"description": "new"})
        assert (await api.get("/work_pools/p"))["description"] == "new"
        await api.delete("/work_pools/p")
        with pytest.raises(errors.NotFound):
            await api.delete("/work_pools/p")


async def test_missing_objects_are_not_found(server):
    async with connected(server.url) as api:
        for path in (f"/deployments/{NOBODY}", "/flows/name/nobody", f"/block_documents/{NOBODY}"):
            with pytest.raises(errors.NotFound):
                await api.get(path)


async def test_wrong_requests_are_rejected_with_the_servers_reason(server):
    async with connected(server.url) as api:
        with pytest.raises(errors.Rejected, match=r"(?i)foo: extra") as caught:
            await api.post("/variables/", {"name": "a", "value": "hush", "foo": 1})
        assert caught.value.status == 422
        assert "hush" not in str(caught.value)


async def test_what_a_server_says_of_a_secret_is_cleaned(server):
    async with connected(server.url) as api:
        with pytest.raises(errors.ReconcilerError) as caught:
            await api.post("/variables/", {"name": Secret("Hush! Hush!"), "value": "x"})
        assert "Hush" not in str(caught.value)


async def test_a_conflict_that_is_no_create_is_a_conflict(server):
    async with connected(server.url) as api:
        flow = await api.post("/flows/", {"name": "f"}, repeat=Repeat.SAFE)
        made = await api.post(
            "/deployments/", {"name": "d", "flow_id": flow["id"]}, repeat=Repeat.SAFE
        )
        with pytest.raises(errors.Conflict) as caught:
            await api.patch(f"/deployments/{made['id']}", {"infrastructure_document_id": NOBODY})
        assert type(caught.value) is errors.Conflict


async def test_more_than_a_page_is_read_to_the_end(server):
    async with connected(server.url) as api:

        async def make(number):
            await api.post("/flows/", {"name": f"f{number:03}"}, repeat=Repeat.SAFE)

        async with anyio.create_task_group() as tasks:
            for number in range(230):
                tasks.start_soon(make, number)
        pages = [page async for page in api.pages("/flows/filter", {"sort": "NAME_ASC"})]
        assert [len(page) for page in pages] == [200, 30]
        assert [f["name"] for page in pages for f in page] == [f"f{n:03}" for n in range(230)]


async def test_a_missing_api_suffix_is_found_out(server):
    with pytest.raises(errors.NotPrefect) as caught:
        async with connected(server.url.removesuffix("/api")):
            pass
    assert caught.value.hint == f"did you mean {server.url}?"


async def test_nobody_there_is_unreachable_within_seconds():
    with anyio.fail_after(10), pytest.raises(errors.Unreachable):
        async with connected(f"http://127.0.0.1:{free_port()}/api"):
            pass


async def test_basic_authentication(fresh_server):
    server = fresh_server(3, auth_string="admin:hush")
    async with connected(server.url, auth_string="admin:hush") as api:
        await api.post("/flows/", {"name": "f"}, repeat=Repeat.SAFE)
    for wrong in ({}, {"auth_string": "admin:other"}, {"api_key": "pnu_other"}):
        with pytest.raises(errors.Unauthorised) as caught:
            async with connected(server.url, **wrong):
                pass
        assert "PREFECT_API_AUTH_STRING" in (caught.value.hint or "")


@pytest.mark.parametrize("major", [2, 3])
async def test_csrf_protection(fresh_server, major):
    server = fresh_server(major, csrf=True)
    async with connected(server.url) as api:
        await api.post("/flows/", {"name": "f"}, repeat=Repeat.SAFE)
        assert await api.post("/flows/count", repeat=Repeat.SAFE) == 1
        await make_pool(api)
        await api.delete("/work_pools/p")
    with pytest.raises(errors.Forbidden, match="CSRF"):
        async with connected(server.url, csrf=False) as api:
            await api.post("/work_pools/", {"name": "p", "type": "prefect-agent"})


async def test_a_third_of_the_answers_replaced_changes_no_result(proxied):
    for fault, share in (
        (Fault.BUSY, 0.1),
        (Fault.RESET, 0.1),
        (Fault.TRUNCATED, 0.05),
        (Fault.LIMITED, 0.05),
    ):
        proxied.add(Rule(fault, share=share))
    async with connected(proxied.url) as api:

        async def make(number):
            await api.post("/flows/", {"name": f"f{number:02}"}, repeat=Repeat.SAFE)

        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(make, number)
        assert await api.post("/flows/count", repeat=Repeat.SAFE) == 40


async def test_a_create_whose_answer_is_lost_happened_once(proxied):
    async with connected(proxied.url) as api:
        proxied.add(Rule(Fault.RESET, when=When.AFTER, path="work_pools/$"))
        while not any(seen.fault for seen in proxied.requests):  # a busy server has done nothing
            with pytest.raises(errors.AnswerLost):
                await api.post("/work_pools/", {"name": "p", "type": "prefect-agent"})
        assert (await api.get("/work_pools/p"))["name"] == "p"


async def test_a_delete_whose_answer_is_lost_is_done(proxied):
    async with connected(proxied.url) as api:
        await make_pool(api)
        proxied.add(Rule(Fault.RESET, when=When.AFTER, method="DELETE", limit=1))
        await api.delete("/work_pools/p")
