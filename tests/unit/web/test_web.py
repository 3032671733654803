"""Pages' API and webhooks over HTTP: who may read and act, what is answered, what is refused."""

import hashlib
import hmac
import json

import anyio
import pytest

from reconciler.errors import HistoryUnavailable
from reconciler.settings import WebSettings
from reconciler.web.access import COOKIE, SESSION_SECONDS, Access
from reconciler.web.hooks import MOST_BYTES
from tests.fakes.backend import KEY, FakeBackend
from tests.unit.web.conftest import TOKEN, client_of

pytestmark = pytest.mark.anyio

BEARER = {"Authorization": f"Bearer {TOKEN}"}
ACTIONS = ["/reconcile", "/suspend", "/resume", f"/heal/{KEY}"]
READS = ["/status", "/resources", f"/resources/{KEY}", "/plan", "/applies", "/drifts", "/runs"]


# -- reading ---------------------------------------------------------------------------------------


async def test_everything_that_is_shown_can_be_read(client, backend):
    for path in READS:
        assert (await client.get(f"/api/v1{path}")).status_code == 200, path
    status = (await client.get("/api/v1/status")).json()
    assert status["resources"] == {
        "in_sync": 1, "drifted": 0, "out_of_sync": 0, "failed": 0, "held": 0,
    }  # fmt: skip
    assert status["source"]["location"] == "https://git.test/org/shop.git"
    assert status["agent"] == {
        "name": "host",
        "pool": "default-agent-pool",
        "active": 1,
        "limit": 4,
    }


async def test_resources_are_filtered_by_state_kind_and_words(client, backend):
    backend.following.live = "by hand"
    await backend.turn()

    async def keys(**query):
        found = await client.get("/api/v1/resources", params=query)
        return [one["key"] for one in found.json()]

    assert await keys() == await keys(state="drifted") == await keys(q="NIGHT") == [KEY]
    assert await keys(kind="deployment", state="drifted") == [KEY]
    assert await keys(state="in_sync") == await keys(kind="block") == await keys(q="zzz") == []
    [resource] = (await client.get("/api/v1/resources")).json()
    assert resource["change"]["fields"][0]["before"] == "by hand"
    assert resource["source"] == "things.yaml:1:1"


async def test_applies_and_drifts_are_read_one_by_one(client, backend):
    backend.following.live = "by hand"
    await backend.turn()
    [apply] = (await client.get("/api/v1/applies")).json()
    detail = (await client.get(f"/api/v1/applies/{apply['id']}")).json()
    assert detail["report"]["changes"][0]["outcome"] == "done"
    [drift] = (await client.get("/api/v1/drifts", params={"ended": False, "key": KEY})).json()
    assert (drift["path"], drift["ended"]) == ("description", None)


@pytest.mark.parametrize(
    "path", ["/resources/x", "/resources/deployment/a/b", "/applies/999", "/nothing"]
)
async def test_what_is_not_there_is_404(client, path):
    assert (await client.get(f"/api/v1{path}")).status_code == 404


async def test_before_the_first_turn_there_is_no_plan(tmp_path):
    backend = FakeBackend(tmp_path)
    async with client_of(backend) as client:
        assert (await client.get("/api/v1/plan")).status_code == 404
        assert (await client.get("/api/v1/status")).json()["revision"] is None
    backend.close()


async def test_a_private_service_shows_nothing_but_its_health_to_strangers(backend):
    async with client_of(backend, private=True) as client:
        for path in READS:
            assert (await client.get(f"/api/v1{path}")).status_code == 401, path
            assert (await client.get(f"/api/v1{path}", headers=BEARER)).status_code == 200, path
        assert (await client.get("/healthz")).status_code == 200


async def test_a_history_that_cannot_be_read_is_503_with_the_reason(client, backend, tmp_path):
    def broken(*_):
        raise HistoryUnavailable("the disk is full")

    backend.board.history.applies = broken
    answer = await client.get("/api/v1/applies")
    assert (answer.status_code, answer.json()["detail"]) == (503, "the disk is full")


async def test_probes_say_what_machines_need(client, backend):
    assert (await client.get("/readyz")).status_code == 200
    backend.unready = "the first reconciliation has not ended yet"
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.text) == (503, f"{backend.unready}\n")
    assert (await client.get("/healthz")).text == "ok\n"
    assert 'reconciler_resources{state="in_sync"} 1.0' in (await client.get("/metrics")).text


async def test_the_description_names_every_path(client):
    described = (await client.get("/api/v1/openapi.json")).json()
    assert {"/api/v1/status", "/api/v1/heal/{key}", "/hooks/{forge}", "/readyz"} <= set(
        described["paths"]
    )


async def test_every_answer_tells_browsers_to_trust_nothing_else(client):
    for path in ("/api/v1/status", "/healthz", "/nothing"):
        headers = (await client.get(path)).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("host", "settings", "status"),
    [
        ("evil.example", {}, 421),
        ("localhost:8383", {}, 200),
        ("[::1]:8383", {}, 200),
        ("shop.example", {"url": "https://shop.example/x"}, 200),
        ("anything.example", {"listen": "0.0.0.0:80"}, 200),
    ],
)
async def test_a_service_for_this_machine_answers_to_no_other_name(backend, host, settings, status):
    async with client_of(backend, host=host, **settings) as client:
        assert (await client.get("/api/v1/status")).status_code == status


# -- acting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ACTIONS)
async def test_only_who_knows_the_token_acts(client, backend, path):
    wrong = [
        {},
        {"Authorization": "Bearer x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Cookie": "a"},
    ]
    for headers in wrong:
        assert (await client.post(f"/api/v1{path}", headers=headers)).status_code == 401
    assert backend.acts == []
    assert (await client.post(f"/api/v1{path}", headers=BEARER)).status_code == 202
    assert len(backend.acts) == 1


@pytest.mark.parametrize("path", ACTIONS)
async def test_without_a_token_in_the_settings_nobody_acts(backend, path):
    async with client_of(backend, token=None) as client:
        for word in (TOKEN, "", "None"):
            headers = {"Authorization": f"Bearer {word}"}
            assert (await client.post(f"/api/v1{path}", headers=headers)).status_code == 401
    assert backend.acts == []


@pytest.mark.parametrize("path", ACTIONS)
async def test_a_session_acts_only_from_a_page_of_ours(client, backend, path):
    cookie = client.access.session()
    client.cookies.set(COOKIE, cookie)
    proof = client.access._sign("csrf", cookie)
    url = f"/api/v1{path}"
    assert (await client.post(url)).status_code == 403
    assert (await client.post(url, headers={"X-CSRF-Token": "guessed"})).status_code == 403
    elsewhere = {"X-CSRF-Token": proof, "Origin": "https://evil.example"}
    assert (await client.post(url, headers=elsewhere)).status_code == 403
    assert (await client.post(url, data={"csrf": "guessed"})).status_code == 403
    assert backend.acts == []
    assert (await client.post(url, data={"csrf": proof})).status_code == 202
    here = {"X-CSRF-Token": proof, "Origin": "http://127.0.0.1:8383"}
    assert (await client.post(url, headers=here)).status_code == 202


async def test_a_session_ends_and_cannot_be_made_up(backend):
    access = Access(WebSettings.model_validate({"token": TOKEN}), backend.clock)
    cookie = access.session()
    assert access._is_valid(cookie)
    end, *rest = cookie.split(".")
    for forged in (f"{int(end) + 1}.{'.'.join(rest)}", "", ".", "a.b.c", cookie[:-1]):
        assert not access._is_valid(forged)
    other = Access(WebSettings.model_validate({"token": TOKEN + "x"}), backend.clock)
    assert not other._is_valid(cookie)
    await backend.clock.advance(SESSION_SECONDS + 1)
    assert not access._is_valid(cookie)


async def test_the_name_that_a_proxy_gives_counts_from_that_proxy_only(backend):
    settings = {"user_header": "X-User", "trusted_proxies": ("10.0.0.0/8",), "listen": "0.0.0.0:1"}
    headers = {"X-User": "ada"}
    for peer, status in (("10.1.2.3", 202), ("192.168.1.1", 401)):
        async with client_of(backend, peer=peer, **settings) as client:
            proof = client.access._sign("csrf", "proxy ada")
            answer = await client.post(
                "/api/v1/reconcile", headers={**headers, "X-CSRF-Token": proof}
            )
            assert answer.status_code == status
            assert (await client.post("/api/v1/reconcile", headers=headers)).status_code in {
                401,
                403,
            }


async def test_nothing_is_healed_that_nobody_knows_or_while_suspended(client, backend):
    answer = await client.post("/api/v1/heal/deployment/a/b", headers=BEARER)
    assert answer.status_code == 404
    backend.board.suspend(True)
    assert (await client.post(f"/api/v1/heal/{KEY}", headers=BEARER)).status_code == 409
    assert backend.acts == []


@pytest.mark.parametrize("path", ACTIONS)
async def test_an_agent_alone_has_nothing_to_reconcile(client, backend, path):
    backend.source = None
    assert (await client.post(f"/api/v1{path}", headers=BEARER)).status_code == 409


# -- webhooks --------------------------------------------------------------------------------------


def delivery(body=None, secret="hush", event="push", **fields):
    payload = {
        "ref": "refs/heads/main",
        "repository": {"clone_url": "https://git.test/org/shop.git"},
        **fields,
    }
    body = json.dumps(payload).encode() if body is None else body
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-GitHub-Event": event, "X-Hub-Signature-256": f"sha256={signature}"}
    return {"content": body, "headers": headers}


async def test_a_push_to_our_ref_asks_the_remote_once_however_often_it_is_replayed(client, backend):
    for number in range(3):
        answer = await client.post("/hooks/github", **delivery())
        assert answer.status_code == 202
        assert ("came before" in answer.json()["message"]) is (number > 0)
    assert backend.acts == ["poll"]
    await client.post("/hooks/github", **delivery(after="2"))
    assert backend.acts == ["poll", "poll"]


@pytest.mark.parametrize(
    "sent",
    [
        delivery(ref="refs/heads/other"),
        delivery(repository={"clone_url": "https://git.test/org/other.git"}),
        delivery(event="ping"),
    ],
)
async def test_what_is_not_about_us_is_taken_and_ignored(client, backend, sent):
    answer = await client.post("/hooks/github", **sent)
    assert answer.status_code == 202
    assert answer.json()["message"].startswith("ignored")
    assert backend.acts == []


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (delivery(secret="guessed"), 401),
        ({"content": b"{}"}, 401),
        (delivery(b"[]"), 400),
        (delivery(b"[" * 100_000), 400),
        (delivery(b"{}"), 400),
        (delivery(b"payload=%7B%7D"), 400),
        (delivery(b" " * (MOST_BYTES + 1)), 413),
    ],
)
async def test_what_is_not_genuine_or_no_push_is_refused(client, backend, sent, status):
    assert (await client.post("/hooks/github", **sent)).status_code == status
    assert backend.acts == []


async def test_a_body_without_end_is_cut_off_at_the_limit(client):
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 65536
            yield b"x" * 65536

    answer = await client.post("/hooks/github", content=endless(), headers={})
    assert answer.status_code == 413
    assert sent < 2 * MOST_BYTES


async def test_gitlabs_token_is_looked_at_before_the_body(client):
    async def never():
        raise AssertionError
        yield b""

    answer = await client.post("/hooks/gitlab", content=never(), headers={"X-Gitlab-Token": "x"})
    assert answer.status_code == 401


async def test_bodies_are_read_a_few_at_a_time(client, backend):
    go = anyio.Event()
    statuses = []

    async def slow():
        yield b"{"
        await go.wait()
        yield b"}"

    async def send():
        statuses.append((await client.post("/hooks/github", content=slow())).status_code)
        if statuses.count(429) == 6:
            go.set()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(send)
    assert sorted(statuses) == [401] * 4 + [429] * 6


async def test_without_a_secret_there_are_no_webhooks(backend):
    async with client_of(backend, webhook_secret=None) as client:
        for secret in ("hush", "", "None"):
            assert (
                await client.post("/hooks/github", **delivery(secret=secret))
            ).status_code == 404
    assert backend.acts == []


async def test_a_forge_that_nobody_knows_is_refused(client):
    assert (await client.post("/hooks/sourceforge", **delivery())).status_code == 422
