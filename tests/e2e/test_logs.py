"""`reconciler logs`: what a flow run's infrastructure wrote, while it runs and after it."""

import sys
import threading

import pytest

from tests.integration.agents import AgentProcess, ensure_pool, process_block
from tests.testbed import seed

TALKS = """
import sys, time
for number in range(1, 4):
    print("line", number, flush=True)
time.sleep(float(sys.argv[1]))
print("the end", flush=True)
"""


@pytest.fixture
def talk(server, tmp_path):
    """Launch a run whose process writes lines, waits and writes one more; return the run's id."""
    with server.client() as client:
        ensure_pool(client)

        def start(seconds):
            block = process_block(
                client,
                command=[sys.executable, "-I", "-S", "-c", TALKS, str(seconds)],
                stream_output=False,
            )
            deployment = seed.deployment(
                client,
                "talks",
                work_pool_name="default-agent-pool",
                infrastructure_document_id=block,
                enforce_parameter_schema=False,
            )
            return seed.flow_run(client, deployment["id"])["id"]

        with AgentProcess(server, tmp_path) as agent:
            start.agent = agent
            start.client = client
            yield start


def test_the_log_of_an_ended_run_is_shown_by_id_and_by_name(talk, cli_on, tmp_path):
    run = talk(0)
    seed.wait_for_state(talk.client, run, "CRASHED")
    state_dir = {"RECONCILER_AGENT_STATE_DIR": str(tmp_path / "one")}
    name = seed.request(talk.client, "GET", f"/flow_runs/{run}")["name"]
    for wanted in (run, name):
        done = cli_on("logs", wanted, env=state_dir)
        assert (done.code, done.stdout) == (0, "line 1\nline 2\nline 3\nthe end\n"), done
    assert cli_on("logs", run, "-n", "1", env=state_dir).stdout == "the end\n"


def test_a_run_is_followed_to_its_end(talk, cli_on, tmp_path):
    run = talk(6)
    state_dir = {"RECONCILER_AGENT_STATE_DIR": str(tmp_path / "one")}
    seed.wait_until((tmp_path / "one" / "runs" / f"{run}.log").exists, seconds=90)
    found = []
    following = threading.Thread(
        target=lambda: found.append(cli_on("logs", run, "--follow", env=state_dir))
    )
    following.start()
    seed.wait_for_state(talk.client, run, "CRASHED")
    following.join(60)
    assert found[0].stdout == "line 1\nline 2\nline 3\nthe end\n", found
    assert found[0].code == 0


def test_what_has_no_log_says_why(talk, cli_on, tmp_path):
    done = cli_on("logs", "no-such-run")
    assert done.code == 1
    assert "has no flow run no-such-run" in done.stderr
    run = talk(0)
    seed.wait_for_state(talk.client, run, "CRASHED")
    elsewhere = cli_on("logs", run, env={"RECONCILER_AGENT_STATE_DIR": str(tmp_path / "other")})
    assert elsewhere.code == 1
    assert elsewhere.stdout == ""
    assert "RECONCILER_AGENT_STATE_DIR" in elsewhere.stderr
