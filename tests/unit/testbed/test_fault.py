"""The fault proxy is trusted by the hardest tests, so it has tests of its own."""

import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.testbed.fault import Fault, FaultProxy, Rule, When


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked, and remembers it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.done.append(self.path)
        text = b"0" * 1000 + body
        refused = self.server.refusals.pop(0) if self.server.refusals else None
        self.send_response(refused or (204 if self.path.endswith("/nothing") else 200))
        if not self.path.endswith("/nothing"):
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if not self.path.endswith("/nothing"):
            self.wfile.write(text)

    do_GET = do_POST  # noqa: N815 - the base class names them
    do_DELETE = do_POST  # noqa: N815

    def log_message(self, *args):
        pass


@pytest.fixture
def upstream():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.done, server.refusals = [], []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def proxy(upstream):
    with FaultProxy(f"http://127.0.0.1:{upstream.server_port}/api", seed=1) as running:
        yield running


@pytest.fixture
def client(proxy):
    with httpx.Client(base_url=proxy.url, timeout=5) as made:
        yield made


def statuses(client, count, path="/x"):
    found = []
    for _ in range(count):
        try:
            found.append(client.post(path, content=b"hi").status_code)
        except httpx.TransportError as error:
            found.append(type(error).__name__)
    return found


def test_requests_pass_unchanged_and_are_recorded(proxy, client, upstream):
    assert client.post("/flows/filter?a=1", content=b"body").content.endswith(b"0body")
    assert client.delete("/nothing").status_code == 204
    assert [(s.number, s.method, s.path, s.status, s.fault) for s in proxy.requests] == [
        (1, "POST", "/api/flows/filter?a=1", 200, None),
        (2, "DELETE", "/api/nothing", 204, None),
    ]
    assert upstream.done == ["/api/flows/filter?a=1", "/api/nothing"]


def test_filters_are_reads_and_everything_else_that_is_not_get_writes(proxy, client):
    client.get("/deployments/1")
    client.post("/deployments/filter")
    client.post("/deployments/count")
    client.post("/deployments/")
    client.delete("/deployments/1")
    assert [seen.method for seen in proxy.writes] == ["POST", "DELETE"]
    assert proxy.count(r"/deployments/", "POST") == 3
    proxy.forget()
    assert proxy.requests == []


def test_a_cut_before_keeps_the_request_from_the_server(proxy, client, upstream):
    proxy.cut_after(2)
    assert statuses(client, 4) == [200, 200, "ReadError", "ReadError"]
    assert len(upstream.done) == 2
    proxy.heal()
    assert statuses(client, 1) == [200]


def test_a_cut_after_lets_the_server_do_the_work_of_one_more(proxy, client, upstream):
    statuses(client, 1)
    proxy.cut_after(1, When.AFTER)
    assert statuses(client, 3) == [200, "ReadError", "ReadError"]
    assert len(upstream.done) == 3
    assert proxy.requests[2].status == 200
    assert proxy.requests[2].fault is Fault.RESET


@pytest.mark.parametrize(("when", "reached"), [(When.BEFORE, 0), (When.AFTER, 1)])
@pytest.mark.parametrize(
    ("fault", "seen"), [(Fault.BUSY, 503), (Fault.LIMITED, 429), (Fault.RESET, "ReadError")]
)
def test_a_fault_strikes_before_or_after_the_work(
    proxy, client, upstream, when, reached, fault, seen
):
    proxy.add(Rule(fault, when, nth=1))
    assert statuses(client, 2) == [seen, 200]
    assert len(upstream.done) == reached + 1


def test_too_many_requests_say_when_to_come_back(proxy, client):
    proxy.add(Rule(Fault.LIMITED, seconds=3))
    assert client.get("/").headers["retry-after"] == "3"


def test_a_truncated_answer_breaks_off_in_the_body(proxy, client, upstream):
    proxy.add(Rule(Fault.TRUNCATED, limit=1))
    assert statuses(client, 2) == ["ReadError", 200]
    assert len(upstream.done) == 2


def test_a_hanging_server_runs_into_the_client_s_timeout(proxy, client):
    proxy.add(Rule(Fault.HANG, seconds=5, limit=1))
    with pytest.raises(httpx.ReadTimeout):
        client.get("/", timeout=0.05)
    assert client.get("/").status_code == 200


def test_what_hangs_ends_when_all_is_healed(proxy, client):
    """A whole network brings the end of a broken connection too; faults must not overlap unmeant."""
    proxy.add(Rule(Fault.HANG, seconds=60))
    threading.Timer(0.3, proxy.heal).start()
    began = time.monotonic()
    [ended] = statuses(client, 1)
    assert ended in {"ReadError", "RemoteProtocolError"}
    assert time.monotonic() - began < 30
    assert client.get("/").status_code == 200


def test_a_delayed_answer_is_the_true_one(proxy, client):
    proxy.add(Rule(Fault.DELAY, seconds=0.05))
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() >= 0.05
    assert proxy.requests[0].fault is None


def test_rules_choose_by_method_and_path(proxy, client):
    proxy.add(Rule(Fault.BUSY, method="DELETE", path="^/api/blocks/"))
    assert client.delete("/blocks/1").status_code == 503
    assert client.get("/blocks/1").status_code == 200
    assert client.delete("/flows/1").status_code == 200


def test_a_share_is_near_what_was_asked_and_the_same_for_the_same_seed(upstream):
    def run(seed):
        with FaultProxy(f"http://127.0.0.1:{upstream.server_port}", seed=seed) as proxy:
            proxy.add(Rule(Fault.BUSY, share=0.3))
            with httpx.Client(base_url=proxy.url) as client:
                return statuses(client, 100)

    first = run(5)
    assert 20 <= first.count(503) <= 40
    assert run(5) == first
    assert run(6) != first


def test_the_shares_of_several_rules_add_up(proxy, client):
    proxy.add(
        Rule(Fault.BUSY, share=0.2),
        Rule(Fault.LIMITED, share=0.2, seconds=0),
        Rule(Fault.BUSY, When.AFTER, share=0.2),
    )
    seen = statuses(client, 200)
    assert 70 <= 200 - seen.count(200) <= 130
    assert seen.count(429) > 15


def test_an_action_is_called_at_the_nth_request_of_a_path_and_the_request_goes_on(
    proxy, client, upstream
):
    calls = []
    proxy.call_at(2, lambda: calls.append(len(upstream.done)), path="/b")
    proxy.call_at(3, lambda: calls.append(len(upstream.done)), When.AFTER, path="/b")
    for path in ("/a", "/b", "/b", "/a", "/b"):
        assert client.post(path).status_code == 200
    assert calls == [2, 5]


@pytest.mark.parametrize(("when", "reached"), [(When.BEFORE, 0), (When.AFTER, 1)])
def test_a_process_is_killed_at_a_request_boundary(proxy, client, upstream, when, reached):
    victim = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    proxy.kill_at(1, lambda: victim.pid, when)
    assert statuses(client, 2) == ["ReadError", 200]
    assert victim.wait(5) == -signal.SIGKILL
    victim.stdin.close()
    assert len(upstream.done) == reached + 1


def test_a_dead_server_looks_like_a_reset(client, upstream):
    upstream.server_close()
    upstream.shutdown()
    assert statuses(client, 1) == ["ReadError"]


def test_what_goes_wrong_after_the_work_waits_until_work_is_done(upstream, proxy, client):
    """A busy server's 503 is passed on: it has done nothing of which the client could not learn."""
    upstream.refusals = [200, 503, 429]
    done = []
    proxy.add(Rule(Fault.RESET, When.AFTER, nth=2, action=lambda: done.append(len(upstream.done))))
    assert [client.post("/x").status_code for _ in range(3)] == [200, 503, 429]
    assert [seen.fault for seen in proxy.requests] == [None] * 3
    with pytest.raises(httpx.TransportError):
        client.post("/x")
    assert done == [4]
    assert client.post("/x").status_code == 200
