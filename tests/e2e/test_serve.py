"""`reconciler serve`: a push is live at once, faults are said and passed, drift is kept in mind."""

import statistics
import tempfile
import time
from pathlib import Path

import pytest
import yaml

from tests.e2e.serving import BLOCK, KEY, TOKEN, Serving
from tests.testbed import seed
from tests.testbed.git import git
from tests.testbed.git_http import GitHttpServer
from tests.testbed.git_ssh import GitSshServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PASSWORD = "canary-git-password"
FLOW = """\
from prefect import flow

@flow
def hello():
    pass
"""
DEPLOYMENT = """\
kind: Deployment
flow_name: hello
name: once
entrypoint: hello.py:hello
path: $STORAGE_BASE_PATH
infrastructure: {type: process}
"""


@pytest.fixture
def git_http(tmp_path):
    (tmp_path / "served").mkdir()
    with GitHttpServer(tmp_path / "served", users={"bob": PASSWORD}) as running:
        yield running


@pytest.fixture
def serving(server, git_http, tmp_path):
    url, bare = git_http.url("shop.git"), tmp_path / "served" / "shop.git"
    with Serving(server, tmp_path, url, bare) as made:
        made.env |= {"RECONCILER_GIT_USERNAME": "bob", "RECONCILER_GIT_PASSWORD": PASSWORD}
        made.declare(A="1")
        yield made


@pytest.fixture
def serving3(prefect3, git_http, tmp_path):
    url, bare = git_http.url("shop.git"), tmp_path / "served" / "shop.git"
    with Serving(prefect3, tmp_path, url, bare) as made:
        made.env |= {"RECONCILER_GIT_USERNAME": "bob", "RECONCILER_GIT_PASSWORD": PASSWORD}
        made.declare(A="1")
        yield made


# -- a push is live at once ------------------------------------------------------------------------


def pushes(serving, name):
    """Push, send the webhook, and time until the change is live; seven times."""
    seconds = []
    for number in range(7):
        serving.declare(A=f"push {number}")
        head = serving.push()
        began = time.monotonic()
        assert serving.hook(after=head).status_code == 202
        serving.until(lambda wanted=number: serving.live == {"A": f"push {wanted}"})
        seconds.append(time.monotonic() - began)
    times = " ".join(f"{one:.2f}" for one in seconds)
    print(f"\n{name}: push to live by webhook, median {statistics.median(seconds):.2f} s: {times}")
    return statistics.median(seconds)


def test_a_push_over_http_with_a_password_is_live_at_once(serving):
    serving.push()
    serving.start("--no-agent")
    # Far below the poll interval, so it was the webhook; `-s` shows that it is below a second.
    assert pushes(serving, "http") < 10
    assert PASSWORD not in serving.output


def test_a_push_over_ssh_is_live_at_once(server, tmp_path):
    (tmp_path / "served").mkdir()
    bare = tmp_path / "served" / "shop.git"
    with (
        tempfile.TemporaryDirectory() as short,  # a socket's path may have 108 bytes
        GitSshServer(tmp_path / "ssh") as ssh,
        Serving(server, tmp_path, ssh.url(bare), bare) as serving,
    ):
        serving.env |= {
            "RECONCILER_GIT_SSH_KEY": str(ssh.key),
            "RECONCILER_GIT_KNOWN_HOSTS": str(ssh.known_hosts),
            "TMPDIR": short,
        }
        serving.declare(A="1")
        serving.push()
        serving.start("--no-agent")
        assert pushes(serving, "ssh") < 10
        [connection] = Path(short).glob("reconciler-ssh-*/*")
        assert connection.is_socket(), "it stands, so that keys are exchanged once"
        assert serving.stop() == 0
        assert not list(Path(short).glob("reconciler-ssh-*")), "it ends with the service"


def test_without_webhooks_a_push_is_live_after_the_interval(serving3):
    serving3.push()
    serving3.start("--no-agent", RECONCILER_POLL_SECONDS="0.5")
    serving3.declare(A="2")
    serving3.in_force(serving3.push())
    assert serving3.live == {"A": "2"}


def test_drift_is_healed_in_time_though_pushes_never_pause(serving3):
    def push(number):
        document = {**BLOCK, "name": "other", "data": {"env": {"N": str(number)}}}
        serving3.work.put("other.yaml", yaml.safe_dump(document))
        return serving3.push()

    push(0)
    serving3.start("--no-agent", RECONCILER_DRIFT_SECONDS="2")
    serving3.edit(A="by hand")
    for number in range(1, 30):  # each far sooner than a look for drift is due
        head = push(number)
        serving3.hook(after=head)
        serving3.in_force(head)
        if serving3.live == {"A": "1"}:
            return
    pytest.fail("nobody looked at what the pushes did not touch")


def test_a_webhook_that_is_not_genuine_or_not_ours_starts_nothing(serving3):
    serving3.push()
    serving3.start("--no-agent")
    serving3.declare(A="2")
    head = serving3.push()
    assert serving3.hook(secret="guessed").status_code == 401
    assert "another ref" in serving3.hook(ref="refs/heads/other").json()["message"]
    other = {"clone_url": "https://example.com/x.git"}
    assert "another repository" in serving3.hook(repository=other).json()["message"]
    time.sleep(1)
    assert serving3.live == {"A": "1"}
    assert "asked now" in serving3.hook(after=head).json()["message"]
    serving3.in_force(head)
    assert "came before" in serving3.hook(after=head).json()["message"]


# -- faults of the source are said, and the last good state is healed to ----------------------------


def healed(serving):
    """Change the live block, and wait until it is as git last said it well."""
    serving.edit(A="by hand")
    assert serving.act("/reconcile").status_code == 202
    serving.until(lambda: serving.live == {"A": "1"})


def force_pushed(serving, git_http):
    serving.work.git("commit", "--quiet", "--amend", "--allow-empty", "-m", "rewritten")
    head = serving.work.head()
    serving.work.publish(serving.bare)
    serving.act("/reconcile")
    serving.in_force(head)


def history_replaced(serving, git_http):
    serving.declare(A="2")
    serving.work.git("checkout", "--quiet", "--orphan", "another")
    serving.work.git("branch", "-D", "main")
    serving.work.git("branch", "-m", "main")
    serving.push()
    serving.act("/reconcile")
    serving.until(lambda: "another repository" in str(serving.status["error"]))


def branch_deleted(serving, git_http):
    git(serving.bare, "update-ref", "-d", "refs/heads/main")
    serving.act("/reconcile")
    serving.until(
        lambda: "no branch, tag or commit 'main'" in str(serving.status["source"]["error"])
    )


def password_expired(serving, git_http):
    git_http.users = {"bob": "another"}
    serving.act("/reconcile")
    serving.until(lambda: "refuses the credentials" in str(serving.status["source"]["error"]))
    assert "check user name, token or key" in serving.status["source"]["hint"]


def remote_away(serving, git_http):
    git_http.stop()
    serving.act("/reconcile")
    serving.until(lambda: "can't be reached" in str(serving.status["source"]["error"]))


def manifests_broken(serving, git_http):
    serving.work.put("blocks.yaml", "kind: Block\nnmae: x\n")
    serving.push()
    serving.act("/reconcile")
    serving.until(lambda: serving.status["problems"])
    assert serving.status["problems"][0]["place"].startswith("blocks.yaml:")


@pytest.mark.parametrize(
    "fault",
    [
        force_pushed,
        history_replaced,
        branch_deleted,
        password_expired,
        remote_away,
        manifests_broken,
    ],
)
def test_beside_a_fault_of_the_source_the_last_good_state_is_kept_and_healed_to(
    serving3, git_http, fault
):
    serving3.work.commit("the root")
    serving3.work.put("note.txt", "second")
    serving3.push()
    serving3.start("--no-agent", "--ref", "main")
    fault(serving3, git_http)
    healed(serving3)
    assert serving3.running.code is None
    assert PASSWORD not in serving3.output


def test_a_moved_host_key_is_said_and_nothing_is_taken_from_there(prefect3, tmp_path):
    (tmp_path / "served").mkdir()
    bare = tmp_path / "served" / "shop.git"
    with (
        GitSshServer(tmp_path / "ssh") as ssh,
        Serving(prefect3, tmp_path, ssh.url(bare), bare) as serving,
    ):
        serving.env |= {
            "RECONCILER_GIT_SSH_KEY": str(ssh.key),
            "RECONCILER_GIT_KNOWN_HOSTS": str(ssh.known_hosts),
        }
        serving.declare(A="1")
        serving.push()
        serving.start("--no-agent")
        other = ssh.new_key("other").with_suffix(".pub").read_text().split()[:2]
        ssh.known_hosts.write_text(f"[127.0.0.1]:{ssh.port} {' '.join(other)}\n")
        serving.declare(A="2")
        serving.push()
        serving.act("/reconcile")
        serving.until(lambda: "host key" in str(serving.status["source"]["error"]))
        healed(serving)


def test_after_a_restart_without_a_remote_the_last_commit_goes_on(serving3, git_http):
    head = serving3.push()
    serving3.start("--no-agent")
    assert serving3.stop() == 0
    git_http.stop()
    serving3.edit(A="by hand")
    serving3.start("--no-agent")
    serving3.in_force(head)
    assert serving3.live == {"A": "1"}
    assert "can't be reached" in serving3.status["source"]["error"]


# -- drift, suspension, the two halves --------------------------------------------------------------


def test_a_reported_drift_is_kept_in_mind_across_restarts_until_somebody_has_it_healed(serving):
    serving.policy(drift="report")
    serving.push()
    serving.start("--no-agent")
    serving.edit(A="by hand")
    serving.act("/reconcile")
    serving.until(lambda: serving.state() == "drifted")
    [drift] = serving.get("/drifts")
    assert (drift["path"], drift["before"], drift["after"]) == ("data.env.A", "by hand", "1")
    assert serving.stop() == 0
    serving.start("--no-agent")
    [again] = serving.get("/drifts", ended=False)
    assert (again["id"], again["first_seen"]) == (drift["id"], drift["first_seen"])
    assert serving.http.post(f"/api/v1/heal/{KEY}").status_code == 401
    assert serving.act(f"/heal/{KEY}").status_code == 202
    serving.until(lambda: serving.live == {"A": "1"})
    serving.until(lambda: serving.get("/drifts")[0]["end"] == "healed")
    serving.until(lambda: serving.state() == "in_sync")


def test_suspended_it_shows_what_waits_and_writes_nothing_even_after_a_restart(serving3):
    serving3.push()
    serving3.start("--no-agent")
    assert serving3.act("/suspend").status_code == 202
    serving3.declare(A="2")
    head = serving3.push()
    serving3.act("/reconcile")
    serving3.in_force(head)
    serving3.until(lambda: serving3.state() == "out_of_sync")
    assert serving3.act(f"/heal/{KEY}").status_code == 409
    serving3.stop()
    serving3.start("--no-agent")
    assert serving3.status["suspended"]
    assert serving3.live == {"A": "1"}
    serving3.act("/resume")
    serving3.until(lambda: serving3.live == {"A": "2"})


def test_its_agent_runs_flows_from_the_commit_and_shows_them(serving):
    serving.work.put("hello.yaml", DEPLOYMENT).put("hello.py", FLOW)
    head = serving.push()
    serving.start(RECONCILER_AGENT_PYTHON=str(serving.server.python))
    with serving.server.client() as client:
        deployment = seed.find_deployment(client, "once", "hello")
        run = seed.flow_run(client, deployment["id"])
        seed.wait_for_state(client, run["id"], "COMPLETED", seconds=120)
    shown = serving.until(lambda: [r for r in serving.get("/runs") if r["state"] == "completed"])
    assert (shown[0]["id"], shown[0]["infrastructure"]) == (run["id"], "process")
    assert head == serving.status["revision"]
    metrics = serving.http.get("/metrics").text
    ended = 'reconciler_agent_flow_runs_total{end="completed",infrastructure="process"} 1.0'
    assert ended in metrics
    assert 'reconciler_resources{state="in_sync"} 3.0' in metrics
    assert serving.stop() == 0


def test_without_the_agent_no_run_is_taken_and_without_the_reconciler_nothing_is_applied(serving3):
    serving3.push()
    serving3.start("--no-reconcile")
    status = serving3.status
    assert (status["source"], status["resources"]["in_sync"]) == (None, 0)
    assert status["agent"]["pool"] == "default-agent-pool"
    assert serving3.act("/reconcile").status_code == 409
    assert serving3.live is None
    serving3.stop()
    serving3.start("--no-agent")
    assert serving3.status["agent"] is None
    assert serving3.live == {"A": "1"}


# -- it starts, stops and is asked ------------------------------------------------------------------


def test_while_prefect_is_away_it_lives_is_not_ready_and_says_why(serving3):
    serving3.push()
    away = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "RECONCILER_API_DEADLINE_SECONDS": "1"}
    serving3.start("--no-agent", ready=False, **away)
    answer = serving3.http.get("/readyz")
    assert answer.status_code == 503
    assert "not reached yet" in answer.text or "127.0.0.1:9" in answer.text
    serving3.until(lambda: "tried again" in serving3.output)
    assert serving3.stop() == 0


def test_what_is_missing_is_said_before_anything_starts(serving3):
    done = serving3.cli("serve")
    assert done.code == 64
    assert "RECONCILER_REPO" in done.stderr
    done = serving3.cli("serve", "--repo", serving3.url, "--no-agent", "--no-reconcile")
    assert done.code == 64
    done = serving3.cli("serve", "--repo", serving3.url, "--listen", "nowhere")
    assert (done.code, "--listen" in done.stderr) == (64, True)
    done = serving3.cli("serve", "--repo", serving3.url, "--listen", "192.0.2.1:80")
    assert (done.code, "can't listen" in done.stderr) == (64, True)


def test_no_secret_of_the_service_is_in_its_log_or_its_answers(serving3):
    serving3.push()
    serving3.start("-vv")
    serving3.hook(secret="wrong")
    shown = [serving3.http.get(f"/api/v1{path}").text for path in ("/status", "/plan", "/applies")]
    assert serving3.stop() == 0
    for canary in (TOKEN, PASSWORD, "canary-webhook-secret"):
        assert canary not in serving3.output + "".join(shown)


# -- reconciler status -----------------------------------------------------------------------------


def test_status_tells_how_a_service_stands(serving3):
    head = serving3.push()
    serving3.policy(drift="report")
    head = serving3.push()
    serving3.start(RECONCILER_DRIFT_SECONDS="0.5")
    url = str(serving3.http.base_url)
    done = serving3.cli("status", "--url", url, "--detailed-exitcode")
    assert done.code == 0, done.output
    assert head[:12] in done.stdout
    assert "1 in sync" in done.stdout
    assert "\x1b" not in done.stdout
    serving3.edit(A="theirs")
    serving3.until(lambda: serving3.state() == "drifted")
    done = serving3.cli("status", "--url", url, "--detailed-exitcode", "--format", "json")
    assert done.code == 2
    assert [one["key"] for one in done.json()["troubled"]] == [KEY]
    assert f"! {KEY}  drifted" in serving3.cli("status", "--url", url).stdout


def test_a_private_service_tells_its_status_to_who_has_the_token(serving3):
    serving3.push()
    serving3.start(RECONCILER_WEB_PRIVATE="true")
    url = str(serving3.http.base_url)
    refused = serving3.cli("status", "--url", url)
    assert refused.code == 1
    assert "sign in" in refused.stderr
    assert serving3.cli("status", "--url", url, env={"RECONCILER_WEB_TOKEN": TOKEN}).code == 0


def test_where_no_service_is_status_says_so(serving3):
    done = serving3.cli("status", "--url", "http://127.0.0.1:1")
    assert done.code == 1
    assert "is `reconciler serve` running?" in done.stderr
    assert serving3.cli("status", "--url", "ftp://x").code == 64
    other = serving3.cli("status", "--url", serving3.server.url)
    assert other.code in {1, 64}
    assert "Traceback" not in other.output
