"""The embedded server's life, with a small program in the place of Prefect."""

import os
import socket
import sys

import anyio
import httpx
import pytest

from reconciler.api.embedded import embedded_server, require_prefect
from reconciler.errors import Unreachable, UsageError
from reconciler.runtime.clock import SystemClock
from tests.fakes.clock import VirtualClock

pytestmark = pytest.mark.anyio

SERVER = """
import http.server, json, os, sys
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        seen = {k: v for k, v in os.environ.items() if k.startswith(("PREFECT", "RECON"))}
        body = json.dumps({"home": os.environ["PREFECT_HOME"], **seen})
        self.send_response(200); self.end_headers(); self.wfile.write(body.encode())
    def log_message(self, *args): pass
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Answers).serve_forever()
"""


@pytest.fixture
def python(tmp_path):
    """Return a way to make an interpreter that runs a program of ours, whatever it is asked to."""

    def make(program):
        file = tmp_path / "program.py"
        file.write_text(program)
        script = tmp_path / "python"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {file} "$@"\n')
        script.chmod(0o700)
        return str(script)

    return make


async def test_it_runs_with_nothing_of_the_users_and_ends_with_the_block(tmp_path, python):
    environ = {**os.environ, "PREFECT_API_KEY": "theirs", "RECONCILER_API_KEY": "ours"}
    folder = tmp_path / "state" / "server"
    async with embedded_server(
        folder, environ, SystemClock(), python=python(SERVER), port=0
    ) as running:
        async with httpx.AsyncClient() as client:
            seen = (await client.get(running.url + "/x")).json()
        assert seen["PREFECT_HOME"] == str(folder)
        assert seen["PREFECT_API_URL"] == running.url
        assert "theirs" not in seen.values()
        assert "RECONCILER_API_KEY" not in seen
        assert folder.stat().st_mode & 0o777 == 0o700
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(running.url)


async def test_a_taken_port_is_left_to_its_owner(tmp_path, python):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with embedded_server(
            tmp_path / "s", {}, SystemClock(), python=python(SERVER), port=port
        ) as running:
            assert f":{port}/" not in running.url


async def test_a_port_lost_while_prefect_starts_is_no_failure_and_nobody_elses_server_ours(
    tmp_path, python
):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    slow = python(f"import sys\nif '{port}' in sys.argv: sys.exit('port taken')\n" + SERVER)
    environ = {"PREFECT_HOME": "elsewhere"}
    theirs = await anyio.open_process(
        [sys.executable, "-c", SERVER, "--port", str(port)], env=environ
    )
    try:
        async with embedded_server(
            tmp_path / "s", {}, SystemClock(), python=slow, port=port
        ) as running:
            assert f":{port}/" not in running.url
    finally:
        theirs.terminate()
        await theirs.aclose()


async def test_one_server_at_a_time_uses_a_folder(tmp_path, python):
    made, clock = python(SERVER), SystemClock()
    async with embedded_server(tmp_path / "s", {}, clock, python=made, port=0):
        with pytest.raises(UsageError, match="another `reconciler up`") as caught:
            async with embedded_server(tmp_path / "s", {}, VirtualClock(), python=made, port=0):
                pytest.fail("two servers on one database")
        assert "RECONCILER_STATE_DIR" in caught.value.hint
    async with embedded_server(tmp_path / "s", {}, clock, python=made, port=0) as again:
        assert again.url


async def test_a_server_that_ends_at_once_is_told_with_the_end_of_its_log(tmp_path, python):
    made = python("raise SystemExit('no such table: flow')")
    with pytest.raises(Unreachable, match=r"ended with 1(.|\n)*no such table: flow"):
        async with embedded_server(tmp_path / "s", {}, SystemClock(), python=made, port=0):
            pytest.fail("it is not up")


async def test_a_server_that_never_answers_is_given_up_and_ended(tmp_path, python):
    made = python("import time\nprint('thinking', flush=True)\nwhile True: time.sleep(1)")
    with pytest.raises(Unreachable, match="did not answer within 120 s"):
        async with embedded_server(tmp_path / "s", {}, VirtualClock(), python=made, port=0):
            pytest.fail("it is not up")
    with anyio.fail_after(30):  # the folder is free: the process is gone
        async with embedded_server(
            tmp_path / "s", {}, SystemClock(), python=python(SERVER), port=0
        ):
            pass


def test_without_prefect_the_extra_is_named():
    with pytest.raises(UsageError) as caught:
        require_prefect(find=lambda _name: None)
    assert "prefect-reconciler[server]" in caught.value.hint
    require_prefect("/another/python", find=lambda _name: None)
