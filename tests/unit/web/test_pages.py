"""The dashboard's pages: whole without scripts, safe against what they show, acting only when asked."""

import html
import re

import pytest

from reconciler.model.status import RunRecord
from reconciler.web.access import COOKIE
from tests.fakes.backend import KEY, T0
from tests.fakes.following import revision
from tests.unit.web.conftest import TOKEN, client_of

pytestmark = pytest.mark.anyio

PAGES = [
    "/",
    "/resources",
    f"/resources/{KEY}",
    "/plan",
    "/applies",
    "/applies/1",
    "/drift",
    "/agent",
]
HTML = {"Accept": "text/html"}


def text_of(answer):
    bare = re.sub(r"<[^>]+>", " ", answer.text)
    return re.sub(r"\s+", " ", html.unescape(bare))


async def sign_in(client):
    answer = await client.post("/signin", data={"token": TOKEN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    client.cookies.set(COOKIE, answer.cookies[COOKIE])
    return answer


def proof_in(answer):
    return re.search(r'name="csrf" value="([0-9a-f]+)"', answer.text)[1]


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_comes_and_has_nothing_inline(client, path):
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script>" not in answer.text
    assert " style=" not in answer.text
    assert " on" not in re.sub(r">[^<]*<", "><", answer.text).replace("<h", "")


async def test_the_files_of_the_pages_come_from_here(client):
    page = (await client.get("/")).text
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        assert (await client.get(path)).status_code == 200, path
    assert (await client.get("/static/../app.py")).status_code == 404


async def test_a_drift_is_shown_with_its_values_line_and_time(client, backend):
    backend.following.live = "by hand"
    await backend.turn()
    shown = text_of(await client.get(f"/resources/{KEY}"))
    for words in ("drifted", "by hand", "good", "things.yaml:", "description"):
        assert words in shown
    assert "Drifted" in text_of(await client.get("/"))
    assert "by hand" in text_of(await client.get("/drift"))
    assert "by hand" in text_of(await client.get("/plan"))


async def test_the_table_is_filtered_by_the_server(client, backend):
    assert KEY in (await client.get("/resources", params={"q": "NIGHT"})).text
    for query in ({"q": "zzz"}, {"state": "drifted"}, {"kind": "block"}):
        answer = await client.get("/resources", params=query)
        assert answer.status_code == 200
        assert KEY not in answer.text
        assert "0 of 1" in text_of(answer)


async def test_what_people_write_cannot_become_markup(client, backend):
    evil = "<img src=x onerror=alert(1)>\"'{{7*7}}"
    backend.following.live = evil
    await backend.turn()
    record = RunRecord("id", evil, "process", evil, "crashed", evil, T0, T0)
    backend.board.history.put_run(record)
    for path in (*PAGES, f"/resources?q={evil}", f"/nothing/{evil}", f"/resources/{evil}"):
        answer = await client.get(path, headers=HTML)
        assert "<img src=x" not in answer.text, path
        assert "49" not in answer.text or "{{7*7}}" in html.unescape(answer.text)


async def test_people_get_a_page_for_what_is_not_there_and_programs_json(client):
    for path in ("/nothing", "/resources/deployment/a/b", "/resources/x", "/applies/99"):
        answer = await client.get(path, headers=HTML)
        assert answer.status_code == 404
        assert "To the overview" in answer.text
    assert (await client.get("/api/v1/nothing", headers=HTML)).json()["detail"]


async def test_strangers_see_no_button_and_a_link_to_sign_in(client):
    page = (await client.get("/")).text
    assert "/actions/" not in page
    assert 'href="/signin"' in page


async def test_who_signed_in_acts_and_comes_back_to_the_page(client, backend):
    cookie = (await sign_in(client)).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    page = await client.get("/")
    proof = proof_in(page)
    for name in ("reconcile", "suspend", "resume"):
        headers = {"Referer": "http://127.0.0.1:8383/resources?q=x"}
        answer = await client.post(f"/actions/{name}", data={"csrf": proof}, headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (303, "/resources?q=x")
    answer = await client.post("/actions/heal", data={"csrf": proof, "key": KEY})
    assert answer.status_code == 303
    assert backend.acts == ["reconcile", "suspend", "resume", f"heal {KEY}"]
    assert (await client.post("/actions/x", data={"csrf": proof})).status_code == 404
    assert (await client.post("/actions/heal", data={"csrf": proof, "key": "x"})).status_code == 404


@pytest.mark.parametrize("referer", ["https://evil.example//evil.example/x", "//evil.example", ""])
async def test_nobody_is_sent_elsewhere_after_an_action(client, backend, referer):
    await sign_in(client)
    proof = proof_in(await client.get("/"))
    answer = await client.post(
        "/actions/reconcile", data={"csrf": proof}, headers={"Referer": referer}
    )
    assert re.fullmatch(r"/[^/].*|/", answer.headers["location"])


async def test_an_action_needs_the_proof_of_the_page(client, backend):
    assert (await client.post("/actions/reconcile")).status_code == 401
    await sign_in(client)
    for data in ({}, {"csrf": ""}, {"csrf": "0" * 64}):
        assert (await client.post("/actions/reconcile", data=data)).status_code == 403
    assert backend.acts == []


async def test_signing_out_ends_the_session(client):
    await sign_in(client)
    proof = proof_in(await client.get("/"))
    answer = await client.post("/signout", data={"csrf": proof})
    assert 'reconciler_session=""' in answer.headers["set-cookie"]


async def test_a_wrong_token_takes_a_moment_and_begins_no_session(backend):
    async with client_of(backend) as client:
        slept = []

        async def sleep(seconds):
            slept.append(seconds)

        backend.clock.sleep = sleep
        answer = await client.post("/signin", data={"token": "guessed"})
        assert answer.status_code == 403
        assert "That is not the token" in answer.text
        assert "set-cookie" not in answer.headers
        assert slept == [1.0]


async def test_over_https_the_cookie_stays_there(backend):
    async with client_of(backend, url="https://reconciler.example") as client:
        assert "Secure" in (await sign_in(client)).headers["set-cookie"]


@pytest.mark.parametrize("path", PAGES)
async def test_a_private_service_sends_strangers_to_sign_in(backend, path):
    async with client_of(backend, private=True) as client:
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/signin")
        assert (await client.get("/signin")).status_code == 200
        assert KEY not in (await client.get("/signin")).text


async def test_the_problems_of_a_broken_revision_are_on_the_first_page(client, backend):
    backend.following.follower._source.snapshots = [revision("description: [", "2")]
    await backend.turn()
    shown = text_of(await client.get("/"))
    assert "Not reconciled" in shown
    assert "things.yaml:" in shown
