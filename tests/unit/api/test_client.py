"""The client against a scripted server: what is repeated, what is not, what becomes of failures."""

import random
from contextlib import aclosing, asynccontextmanager

import anyio
import httpx
import pytest

from reconciler import errors
from reconciler.api.client import Api, Repeat
from reconciler.api.transport import Patience, Sender
from reconciler.model.server import ServerFacts, Version
from reconciler.model.values import Secret
from reconciler.runtime.ahead import owned
from tests.fakes.clock import VirtualClock
from tests.fakes.http import ScriptedServer, answer

pytestmark = pytest.mark.anyio

URL = "http://prefect.test/api"
GOOD = {"id": "1"}
LOST = httpx.ReadError("reset")
REFUSED = httpx.ConnectError("refused")


class Bench:
    """An `Api` on a scripted server and a virtual clock."""

    def __init__(self, *script, otherwise=None, heard=True, **options):
        self.server = ScriptedServer(*script, otherwise=otherwise)
        self.clock = VirtualClock()
        self.seen = []
        http = httpx.AsyncClient(base_url=URL, transport=self.server)
        self.sender = Sender(
            http,
            self.clock,
            Patience(attempt=60, deadline=120),
            observer=lambda *event: self.seen.append(event),
            **options,
        )
        self.sender._heard = heard
        self.api = Api(self.sender, ServerFacts(Version(3, 8, 8), URL))

    @asynccontextmanager
    async def reading_ahead(self):
        """Give an `Api` as `connect` makes it."""
        async with owned() as group:
            yield Api(self.sender, self.api.facts, group)


async def test_the_verbs_reach_their_paths_below_the_root():
    bench = Bench(otherwise=lambda _: answer(200, GOOD))
    api = bench.api
    assert await api.get("/flows/1", {"include_secrets": True}) == GOOD
    assert await api.post("/flows/", {"name": "a"}) == GOOD
    assert await api.patch("/flows/1", {"tags": []}) == GOOD
    assert await api.put("/automations/1", {"name": "b"}) == GOOD
    assert await api.delete("/flows/1") is None
    assert bench.server.asked == [
        "GET /api/flows/1",
        "POST /api/flows/",
        "PATCH /api/flows/1",
        "PUT /api/automations/1",
        "DELETE /api/flows/1",
    ]
    assert bench.server.requests[0].url.params["include_secrets"] == "true"
    assert bench.server.body(1) == {"name": "a"}


async def test_a_secret_leaves_for_the_server_in_the_body():
    bench = Bench(answer(201, GOOD))
    await bench.api.post("/block_documents/", {"data": {"password": Secret("hunter2")}})
    assert bench.server.body() == {"data": {"password": "hunter2"}}


async def test_the_status_of_an_upsert_tells_made_from_found():
    bench = Bench(answer(201, GOOD), answer(200, GOOD))
    assert await bench.api.post_status("/flows/", {}, repeat=Repeat.SAFE) == (201, GOOD)
    assert await bench.api.post_status("/flows/", {}, repeat=Repeat.SAFE) == (200, GOOD)


async def test_reads_and_writes_are_counted_with_repeats():
    bench = Bench(
        answer(503), answer(200, []), answer(503), answer(200, GOOD), answer(200, 3), answer(204)
    )
    await bench.api.post("/flows/filter", repeat=Repeat.SAFE)
    await bench.api.post("/flows/", {}, repeat=Repeat.SAFE)
    await bench.api.post("/flows/count", repeat=Repeat.SAFE)
    await bench.api.delete("/flows/1")
    counts = bench.api.counts
    assert (counts.reads, counts.writes, counts.repeated_writes) == (3, 3, 1)


@pytest.mark.parametrize("trouble", [408, 429, 502, 503, 504, LOST, REFUSED], ids=repr)
async def test_what_passes_by_itself_is_repeated(trouble):
    step = answer(trouble) if isinstance(trouble, int) else trouble
    bench = Bench(step, step, answer(200, GOOD))
    assert await bench.api.get("/flows/1") == GOOD
    assert len(bench.clock.slept) == 2


async def test_each_attempt_is_observed():
    bench = Bench(answer(503), LOST, REFUSED, answer(200, GOOD))
    await bench.api.get("/x")
    assert [event[:2] for event in bench.seen] == [
        ("GET", "503"),
        ("GET", "lost"),
        ("GET", "no connection"),
        ("GET", "200"),
    ]


@pytest.mark.parametrize("trouble", [500, 502, 503, 504, LOST, httpx.ReadTimeout("late")], ids=repr)
async def test_a_create_whose_fate_is_unknown_is_not_repeated(trouble):
    bench = Bench(answer(trouble) if isinstance(trouble, int) else trouble)
    with pytest.raises(errors.AnswerLost, match="POST /block_documents/"):
        await bench.api.post("/block_documents/", {})
    assert bench.clock.slept == []


@pytest.mark.parametrize("trouble", [408, 429, REFUSED, httpx.ConnectTimeout("late")], ids=repr)
async def test_a_create_that_was_never_taken_up_is_repeated(trouble):
    step = answer(trouble) if isinstance(trouble, int) else trouble
    bench = Bench(step, answer(201, GOOD))
    assert await bench.api.post("/block_documents/", {}) == GOOD


async def test_a_delete_that_was_carried_out_unheard_is_done():
    bench = Bench(LOST, answer(404, {"detail": "not found"}))
    await bench.api.delete("/flows/1")


@pytest.mark.parametrize("before", [[], [REFUSED], [answer(429)]], ids=len)
async def test_a_delete_of_nothing_is_not_found(before):
    with pytest.raises(errors.NotFound):
        await Bench(*before, answer(404, {})).api.delete("/flows/1")


async def test_other_failures_of_a_delete_are_failures_even_after_a_lost_answer():
    with pytest.raises(errors.Forbidden):
        await Bench(LOST, answer(403)).api.delete("/flows/1")


async def test_retry_after_is_kept_and_spread_by_a_second_at_most():
    bench = Bench(answer(429, Retry_After="7"), answer(200, GOOD))
    await bench.api.get("/x")
    assert 7 <= bench.clock.slept[0] <= 8


async def test_retry_after_as_a_date_counts_by_the_servers_clock():
    busy = answer(
        503, Retry_After="Mon, 01 Feb 2027 00:00:09 GMT", Date="Mon, 01 Feb 2027 00:00:00 GMT"
    )
    bench = Bench(busy, answer(200, GOOD))
    await bench.api.get("/x")
    assert 9 <= bench.clock.slept[0] <= 10


async def test_a_rate_limit_quietens_every_request():
    bench = Bench(answer(429, Retry_After="30"), otherwise=lambda _: answer(200, GOOD))
    bench.sender._reads.aimd.limit = 1
    asked_at = []

    async def ask():
        await bench.api.get("/x")
        asked_at.append(bench.clock.monotonic())

    begun = bench.clock.monotonic()
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
    assert len(bench.server.requests) == 21
    assert min(asked_at) >= begun + 30


async def test_a_rate_limit_longer_than_the_deadline_fails_every_request_at_once():
    bench = Bench(answer(429, Retry_After="600"))
    for _ in range(2):
        with pytest.raises(errors.Overloaded) as caught:
            await bench.api.get("/x")
        assert caught.value.retry_after == 600
    assert len(bench.server.requests) == 1


async def test_a_wait_beyond_the_deadline_is_not_begun():
    bench = Bench(answer(429, Retry_After="600"))
    with pytest.raises(errors.Overloaded) as caught:
        await bench.api.get("/x")
    assert caught.value.retry_after == 600
    assert bench.clock.slept == []


async def test_an_overloaded_server_is_given_up_at_the_deadline():
    bench = Bench(otherwise=lambda _: answer(503, {"detail": "database is locked"}))
    with pytest.raises(errors.Overloaded, match=r"503: database is locked \(tried \d+ times"):
        await bench.api.get("/x")
    assert 90 < sum(bench.clock.slept) <= 120


async def test_the_wait_for_a_slot_does_not_use_up_the_deadline():
    def slow(_request):
        bench.clock.advance(50)
        return answer(200, GOOD)

    bench = Bench(otherwise=slow)
    async with anyio.create_task_group() as tasks:
        for _ in range(30):
            tasks.start_soon(bench.api.get, "/x")
    assert len(bench.server.requests) == 30


async def test_a_server_that_was_there_is_waited_for_until_the_deadline():
    bench = Bench(otherwise=REFUSED)
    with pytest.raises(errors.Unreachable, match=r"prefect\.test"):
        await bench.api.get("/x")
    assert sum(bench.clock.slept) > 90


async def test_a_server_that_never_answered_is_given_up_within_seconds():
    bench = Bench(otherwise=REFUSED, heard=False)
    with pytest.raises(errors.Unreachable) as caught:
        await bench.api.get("/x")
    assert sum(bench.clock.slept) <= 5
    assert "is the server running" in (caught.value.hint or "")


async def test_a_server_fault_that_stays_is_tried_three_times():
    bench = Bench(otherwise=lambda _: answer(500, {"exception_message": "Internal Server Error"}))
    with pytest.raises(errors.Overloaded, match="500: Internal Server Error"):
        await bench.api.patch("/x", {})
    assert len(bench.server.requests) == 3


async def test_an_answer_that_takes_too_long_is_broken_off():
    async def never(_request):
        await anyio.sleep_forever()

    bench = Bench()
    bench.sender._patience = Patience(attempt=0.01, deadline=120)
    bench.server.handle_async_request = never
    with pytest.raises(errors.AnswerLost, match="no answer in time"):
        await bench.api.post("/x", {})


async def test_an_endless_answer_is_refused():
    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self):
            while True:
                yield b" " * 2**20

    bench = Bench(httpx.Response(200, stream=Endless()))
    with pytest.raises(errors.NotPrefect, match="larger than 64 MiB"):
        await bench.api.get("/x")


async def test_trouble_lowers_the_limit_and_answers_raise_it():
    bench = Bench(answer(503), answer(200, GOOD))
    await bench.api.get("/x")
    assert bench.sender._reads.aimd.limit == 2
    bench.server.otherwise = lambda _: answer(200, GOOD)
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(bench.api.get, "/x")
    assert bench.sender._reads.aimd.limit > 5


async def test_writes_have_a_limit_of_their_own_that_starts_at_one():
    bench, running, most = Bench(), 0, 0

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            nonlocal running, most
            running += 1
            most = max(most, running) if request.method == "PATCH" else most
            await anyio.lowlevel.checkpoint()
            running -= request.method == "PATCH"
            return answer(200, GOOD)

    bench.sender._http = httpx.AsyncClient(base_url=URL, transport=Slow())
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(bench.api.patch, "/flows/1", {})
    assert most == 1
    assert bench.sender._reads.aimd.limit == 4


async def test_what_is_urgent_waits_behind_no_other_write():
    bench, gate, done = Bench(), anyio.Event(), []

    class Stuck(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            if request.url.path.endswith("/stuck"):
                await gate.wait()
            return answer(200, GOOD)

    async def patch(path, **options):
        await bench.api.patch(path, {}, **options)
        done.append(path)

    bench.sender._http = httpx.AsyncClient(base_url=URL, transport=Stuck())
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(patch, "/stuck")
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(5):
            await bench.api.patch("/lease", {}, urgent=True)
            await bench.api.post("/heartbeat", {}, repeat=Repeat.SAFE, urgent=True)
        assert done == []
        gate.set()
    assert bench.sender._writes.running == 0


async def test_a_stream_of_writes_does_not_starve_what_is_urgent():
    class OneWriter(httpx.AsyncBaseTransport):
        """As SQLite: who writes while another does is refused."""

        def __init__(self):
            self.busy, self.signs, self.others = False, 0, 0

        async def handle_async_request(self, request):
            sign = request.url.path.endswith("/lease")
            self.signs += sign
            self.others += not sign
            if self.busy:
                return answer(503)
            self.busy = True
            for _ in range(4):
                await anyio.sleep(0)
            self.busy = False
            return answer(200, GOOD)

    bench, server = Bench(), OneWriter()
    bench.sender._http = httpx.AsyncClient(base_url=URL, transport=server)
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(bench.api.patch, "/x", {})
        for _ in range(5):
            await anyio.sleep(0)
        await bench.api.patch("/lease", {}, urgent=True)
        assert server.signs <= 6
        assert server.others <= 2
    assert server.others >= 50


async def test_pages_are_read_to_the_last_one():
    things = [{"id": n} for n in range(450)]

    def page(request):
        body = bench.server.body()
        return answer(200, things[body["offset"] : body["offset"] + body["limit"]])

    bench = Bench(otherwise=page)
    got = [
        item
        async for page in bench.api.pages("/flows/filter", {"sort": "NAME_ASC"})
        for item in page
    ]
    assert got == things
    assert bench.server.body() == {"sort": "NAME_ASC", "limit": 200, "offset": 400}


async def test_while_a_page_is_looked_at_the_server_works_on_the_next():
    bench = Bench(
        otherwise=lambda _: answer(200, [GOOD] * (2 if bench.server.body()["offset"] < 4 else 1))
    )
    async with bench.reading_ahead() as api:
        pages = api.pages("/x/filter", size=2)
        asked = [(len(page), len(bench.server.requests)) async for page in pages]
    assert asked == [(2, 2), (2, 3), (1, 3)]


async def test_a_page_asked_for_ahead_fails_where_it_is_looked_at():
    bench = Bench(answer(200, [GOOD] * 2), answer(200, {}))
    async with bench.reading_ahead() as api:
        pages = api.pages("/x/filter", size=2)
        assert await anext(pages) == [GOOD] * 2
        with pytest.raises(errors.NotPrefect):
            await anext(pages)


async def test_a_listing_that_nobody_reads_on_is_given_up_with_the_connection():
    bench = Bench(answer(200, [GOOD] * 2), otherwise=lambda _: answer(503))
    with anyio.fail_after(5):
        async with bench.reading_ahead() as api:
            async with aclosing(api.pages("/x/filter", size=2)) as pages:
                await anext(pages)
            asked = len(bench.server.requests)
            await anyio.sleep(0.05)
    assert len(bench.server.requests) == asked, "nobody asks again for what nobody wants"


async def test_whoever_may_finish_while_the_connection_ends_still_gets_a_page():
    """A refill, say: it is shielded from a signal that ends all else."""
    bench, got = Bench(otherwise=lambda _: answer(200, [GOOD])), []

    async def refill(api):
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.01)
            got.extend([page async for page in api.pages("/x/filter", size=2)])

    async with anyio.create_task_group() as group:
        group.start_soon(refill, Api(bench.sender, bench.api.facts, group))
        await anyio.sleep(0.001)
        group.cancel_scope.cancel()
    assert got == [[GOOD]]


async def test_a_full_last_page_needs_one_more_look():
    bench = Bench(answer(200, [GOOD] * 2), answer(200, []))
    assert [len(page) async for page in bench.api.pages("/x/filter", size=2)] == [2]


async def test_a_listing_that_breaks_off_is_an_error():
    bench = Bench(answer(200, [GOOD] * 2), otherwise=lambda _: answer(503))
    with pytest.raises(errors.Transient):
        async for _ in bench.api.pages("/x/filter", size=2):
            pass


async def test_a_listing_that_is_no_list_is_no_prefect():
    with pytest.raises(errors.NotPrefect):
        async for _ in Bench(answer(200, {})).api.pages("/x/filter"):
            pass


async def test_the_servers_clock_is_at_hand():
    bench = Bench(answer(200, GOOD, Date="Mon, 01 Feb 2027 00:00:00 GMT"))
    await bench.api.get("/x")
    assert str(bench.api.now()) == "2027-02-01 00:00:00+00:00"


class CsrfServer:
    """A server that wants tokens, which it can withdraw."""

    def __init__(self):
        self.valid = 0

    def __call__(self, request):
        if request.url.path.endswith("/csrf-token"):
            self.valid += 1
            return answer(200, {"token": str(self.valid), "expiration": "…"})
        sent = request.headers.get("prefect-csrf-token")
        if request.method == "GET" or (
            sent == str(self.valid) and "prefect-csrf-client" in request.headers
        ):
            return answer(200, GOOD)
        said = "Invalid CSRF token or client identifier." if sent else "Missing CSRF token."
        return answer(403, {"detail": said})


async def test_a_csrf_token_is_fetched_when_asked_for_and_used_again():
    bench = Bench(otherwise=CsrfServer())
    await bench.api.post("/flows/", {})
    await bench.api.post("/flows/filter", repeat=Repeat.SAFE)
    await bench.api.delete("/flows/1")
    assert [line.rpartition("/")[2] for line in bench.server.asked] == [
        "",
        "csrf-token",
        "",
        "filter",
        "1",
    ]


async def test_an_expired_csrf_token_is_renewed():
    csrf = CsrfServer()
    bench = Bench(otherwise=csrf)
    await bench.api.post("/flows/", {})
    csrf.valid += 1
    await bench.api.post("/flows/", {})


async def test_many_writes_share_one_csrf_token():
    bench = Bench(otherwise=CsrfServer())
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(bench.api.post, "/flows/", {})
    assert sum("csrf" in line for line in bench.server.asked) == 1


async def test_a_token_refused_twice_is_forbidden():
    def stubborn(request):
        if request.url.path.endswith("/csrf-token"):
            return answer(200, {"token": "x"})
        return answer(403, {"detail": "Invalid CSRF token or client identifier."})

    with pytest.raises(errors.Forbidden):
        await Bench(otherwise=stubborn).api.post("/flows/", {})


async def test_without_csrf_support_the_403_stands():
    bench = Bench(otherwise=CsrfServer(), csrf=False)
    with pytest.raises(errors.Forbidden, match="Missing CSRF token"):
        await bench.api.post("/flows/", {})


async def test_a_csrf_answer_without_a_token_is_no_prefect():
    bench = Bench(answer(403, {"detail": "Missing CSRF token."}), answer(200, {}))
    with pytest.raises(errors.NotPrefect):
        await bench.api.post("/flows/", {})


async def test_a_server_that_wants_a_token_even_for_the_token_is_forbidden():
    bench = Bench(otherwise=lambda _: answer(403, {"detail": "CSRF token required"}))
    with pytest.raises(errors.Forbidden):
        await bench.api.post("/flows/", {})


@pytest.mark.parametrize(
    "mistake",
    [httpx.LocalProtocolError("Illegal header value b'Bearer s3cr3t'"), httpx.DecodingError("gz")],
)
async def test_what_each_attempt_would_meet_is_said_at_once_and_quotes_no_header(mistake):
    bench = Bench(otherwise=mistake)
    with pytest.raises(errors.Overloaded) as caught:
        await bench.api.get("/x")
    assert len(bench.server.requests) == 1
    assert "s3cr3t" not in str(caught.value)


async def test_a_third_of_all_answers_lost_changes_no_result():
    chance = random.Random(7)

    def flaky(_request):
        if chance.random() < 0.3:
            trouble = chance.choice([503, 429, 502, LOST, REFUSED, httpx.ReadTimeout("late")])
            if isinstance(trouble, Exception):
                raise trouble
            return answer(trouble)
        return answer(200, GOOD)

    bench = Bench(otherwise=flaky)
    results = []

    async def ask():
        results.append(await bench.api.get("/x"))

    async with anyio.create_task_group() as tasks:
        for _ in range(300):
            tasks.start_soon(ask)
    assert results == [GOOD] * 300
