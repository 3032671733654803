"""`reconciler up`: one command, and it runs; one Ctrl-C, and nothing is left."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.testbed import seed
from tests.testbed.cli import Cli, Running
from tests.testbed.environments import ROOT

EXAMPLE = ROOT / "examples" / "repo"
UP = 180  # a Prefect server starts in 5 to 60 s, as busy as the machine is
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = """\
kind: Deployment
flow_name: hello
name: often
entrypoint: hello.py:hello
path: $STORAGE_BASE_PATH
infrastructure: {type: process, stream_output: true}
schedules: [{interval: 10}]
parameters: {name: world}
"""
HELLO = """\
from prefect import flow

@flow(log_prints=True)
def hello(name: str):
    print(f"greetings to {name}")
"""


@pytest.fixture
def home(tmp_path):
    """A home folder; whatever process has it when the test ends is killed, so that none stays."""
    folder = tmp_path / "home"
    folder.mkdir()
    yield folder
    for process in living(folder):
        process.kill()


@pytest.fixture
def tree(tmp_path):
    """A tree with one deployment that runs often."""
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "reconciler.yaml").write_text("name: small\n")
    (folder / "hello.yaml").write_text(SMALL)
    (folder / "hello.py").write_text(HELLO)
    return folder


def living(home, word=None):
    """Return every process whose HOME lies there: all that a command started, however deep.

    Args:
        home: of the user.
        word: one of its arguments; any process by default.
    """
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("HOME") == str(home) and process.status() != "zombie"
            if ours and (word is None or word in process.cmdline()):
                found.append(process)
        except psutil.Error:  # it ended while we looked, or is none of ours
            continue
    return found


@contextmanager
def up(cli, *args):
    """Run `reconciler up` as from a terminal: Ctrl-C reaches the whole group."""
    with cli.start("up", *args) as running:
        yield running


def on(server, home):
    flows = {"RECONCILER_AGENT_PYTHON": str(server.python), "RECONCILER_AGENT_LIMIT": "2"}
    return Cli(home, server.client_env | flows)


def ctrl_c(running, seconds=90):
    os.killpg(running.pid, signal.SIGINT)
    return running.wait(seconds)


def eventually(what, seconds=60):
    return seed.wait_until(lambda: what() or None, seconds=seconds)


def test_up_once_runs_each_deployment_that_is_not_paused_once(server, home, capsys):
    cli = on(server, home)
    done = cli("up", EXAMPLE, "--once", timeout=300)
    with capsys.disabled():
        print(f"\nup --once on Prefect {server.version}: {done.seconds:.0f} s")
    assert done.code == 0, done.output
    assert re.search(r"COMPLETED +deployment/primes/every-20-seconds", done.stdout)
    assert re.search(r"COMPLETED +deployment/countdown/by-hand", done.stdout)
    assert re.search(r"not run +deployment/fails/on-purpose +paused", done.stdout)
    with server.client() as client:
        runs = seed.listing(client, "flow_runs")
    ran = [run for run in runs if run["state_type"] != "SCHEDULED"]
    assert [run["state_type"] for run in ran] == ["COMPLETED"] * 2
    assert len(runs) > 2, "what is scheduled was left alone"
    assert living(home) == []


def test_up_once_fails_where_a_run_does(server, home, tree):
    (tree / "hello.py").write_text(HELLO + "    raise ValueError('no greetings')\n")
    cli = on(server, home)
    done = cli("up", tree, "--once", timeout=300)
    assert done.code == 1
    assert re.search(r"FAILED +deployment/hello/often .*no greetings", done.stdout), done.output


def test_an_edited_file_is_applied_at_once_and_a_broken_one_never(server, home, tree, capsys):
    cli = on(server, home)
    with server.client() as client, up(cli, tree) as running:
        running.wait_for("Watching .*tree", UP)
        running.wait_for("greetings to world", UP)
        running.wait_for("completed after", UP)

        began = time.monotonic()
        (tree / "hello.yaml").write_text(SMALL.replace("world", "Ada"))
        running.wait_for(r"parameters.name: \"world\" → \"Ada\"", UP)
        told = time.monotonic() - began
        with capsys.disabled():
            print(f"\nedit to applied on Prefect {server.version}: {told:.1f} s")
        assert deployment(client)["parameters"] == {"name": "Ada"}, running.output
        running.wait_for("greetings to Ada", UP)

        (tree / "hello.yaml").write_text(SMALL.replace("entrypoint", "entrypont"))
        (tree / "more.yaml").write_text(SMALL.replace("often", "more"))
        running.wait_for(r"hello.yaml:4:1: .*entrypont.*did you mean", UP)
        running.wait_for("The last good revision stays in force", UP)
        seen = len(seed.listing(client, "deployments"))
        assert seen == 1

        (tree / "hello.yaml").write_text(SMALL.replace("world", "Bob"))
        running.wait_for(r"\+ deployment/hello/more", UP)
        assert deployment(client)["parameters"] == {"name": "Bob"}
        assert ctrl_c(running) == 0, running.output
        assert "Traceback" not in running.output
        assert living(home) == []


def deployment(client):
    return seed.find_deployment(client, "often", "hello")


def test_two_ups_never_share_a_database_and_no_server_outlives_its_up(home, tree):
    cli = Cli(home, {})
    with up(cli, tree) as running:
        running.wait_for("Prefect API at (http://\\S+)", UP)
        other = cli("up", tree)
        assert other.code == 64
        assert "another `reconciler up`" in other.stderr
        assert "RECONCILER_STATE_DIR" in other.stderr
        running.wait_for("greetings to world", UP)
        running.kill()
    assert eventually(lambda: not living(home, "server"))

    with up(cli, tree) as running:  # the folder is free again, and its state is there
        running.wait_for("Watching", UP)
        assert "1 in step" in running.output or "2 in step" in running.output
        running.wait_for("greetings to world", UP)
        assert ctrl_c(running) == 0, running.output
    assert eventually(lambda: living(home) == [])


def test_up_once_needs_no_server_but_its_own(home):
    done = Cli(home, {})("up", EXAMPLE, "--once", timeout=400)
    assert done.code == 0, done.output
    assert done.stdout.count("COMPLETED") == 2
    assert living(home) == []


def test_the_starter_repository_is_valid_and_runs(home):
    cli = Cli(home, {})
    made = cli("init", "my-flows")
    assert made.code == 0, made.output
    valid = cli("validate", "my-flows")
    assert valid.code == 0, valid.output
    assert "2 resources in 2 files" in valid.stdout
    ran = cli("up", "my-flows", "--once", timeout=400)
    assert ran.code == 0, ran.output
    assert "Good day, world!" in ran.stderr


def test_make_up_on_a_fresh_clone_runs_a_scheduled_flow(tmp_path, home, capsys):
    """A new user on a machine with git, make and Python: one command."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    environ = fresh_environment(home)
    # A profile of the user's own must not lead it elsewhere.
    (home / ".prefect").mkdir()
    (home / ".prefect" / "profiles.toml").write_text(
        'active = "theirs"\n[profiles.theirs]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n'
    )
    with Running(["make", "-C", str(clone), "up"], environ, tmp_path) as running:
        running.wait_for("Prefect API at", 420)
        began = time.monotonic()
        running.wait_for(r"completed after", UP)
        with capsys.disabled():
            print(f"\nserver up to a completed scheduled run: {time.monotonic() - began:.0f} s")
        policy = clone / "examples" / "repo" / "reconciler.yaml"
        policy.write_text(
            policy.read_text().replace("primes_below: 20000\n", "primes_below: 500\n")
        )
        running.wait_for("parameters.below: 20000 → 500", UP)
        running.wait_for("primes below 500", UP)
        ctrl_c(running)
    assert eventually(lambda: living(home) == [])


def fresh_environment(home):
    """The variables of a new user; how packages are reached on this machine stays."""
    kept = (
        "PIP_",
        "SSL_CERT",
        "REQUESTS_CA",
        "LANG",
        "LC_",
        "HTTP",
        "NO_PROXY",
        "http",
        "no_proxy",
    )
    passed = {n: v for n, v in os.environ.items() if n.startswith(kept)}
    python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    path = os.pathsep.join([str(python.parent), "/usr/local/bin", "/usr/bin", "/bin"])
    assert shutil.which("make", path=path), "make is needed"
    return passed | {"HOME": str(home), "PATH": path, "PYTHON": str(python)}
