"""The Kubernetes launcher over HTTP: one Job for each launch, ends, streams that break, refusals."""

import json
from contextlib import asynccontextmanager

import anyio
import pytest

from reconciler.blocks.kubernetes import KubernetesClusterConfigSettings, KubernetesJobSettings
from reconciler.errors import Transient
from reconciler.infrastructure.base import NotLaunchable, NotStarted, Surroundings
from reconciler.infrastructure.kubernetes import KubernetesLauncher
from reconciler.infrastructure.kubernetes.client import Clusters
from reconciler.model.launch import LaunchSpec, Sought
from reconciler.settings import PlatformSettings
from tests.fakes.hurried_clock import HurriedClock
from tests.fakes.kubernetes_api import UID, KubernetesApi

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

TOKEN = "11111111-1111-8111-8111-11111111111{}"
API = "https://prefect.example.com/api"


@pytest.fixture
def cluster():
    with KubernetesApi() as api:
        yield api


class Bench:
    def __init__(self, cluster, folder):
        self.cluster, self.folder = cluster, folder
        self.shown, self.agents = [], []
        self.launcher = self.agent()

    def agent(self):
        made = KubernetesLauncher(
            Surroundings(
                state_dir=self.folder,
                host_dir=self.folder,
                inherited=dict,
                python="python3",
                clock=HurriedClock(),
                output=lambda run, line: self.shown.append((run, line)),
                images="prefecthq/prefect:3.8.8",
            )
        )
        self.agents.append(made)
        return made

    def settings(self, token="good", **settings):
        chosen = {"stream_output": False, "pod_watch_timeout_seconds": 600, **settings}
        return KubernetesJobSettings(cluster_config=self.cluster.config(token), **chosen)

    def spec(self, number=1, token="good", env=None, **settings):
        made = self.settings(token, **settings)
        return LaunchSpec(
            TOKEN.format(number), f"run-{number}", "nightly", "kubernetes-job", made, env=env or {}
        )

    def sought(self, number=1, pid=None, token="good"):
        return Sought(TOKEN.format(number), f"run-{number}", pid, self.settings(token))

    async def launch(self, number=1, **settings):
        handle = await self.launcher.create(self.spec(number, **settings))
        return await self.launcher.start(handle)

    @asynccontextmanager
    async def watching(self, launcher=None):
        async with anyio.create_task_group() as group:
            group.start_soon((launcher or self.launcher).watch)
            yield group
            group.cancel_scope.cancel()

    async def end_of(self, handle, act):
        """Wait for the end of a launch that `act` brings about once it is watched."""
        async with self.watching() as group:
            ends = []

            async def wait():
                ends.append(await self.launcher.ended(handle))

            group.start_soon(wait)
            await self.watched(handle)
            await anyio.to_thread.run_sync(act)
            while not ends:
                await anyio.sleep(0.01)
        return ends[0]

    async def quiet(self):
        """Wait until what watching begins with is over."""
        before = -1
        while before != len(self.cluster.api.requests):
            before = len(self.cluster.api.requests)
            await anyio.sleep(0.2)

    async def watched(self, handle):
        """Wait until a launch is watched by streams."""
        while self.launcher._watcher.of_token(handle.token) is None or not (
            self.cluster.count("GET", "/pods", watch=True)
        ):
            await anyio.sleep(0.01)


@pytest.fixture
async def bench(cluster, tmp_path):
    made = Bench(cluster, tmp_path)
    yield made
    for agent in made.agents:
        await agent.close()


def name(number=1):
    return f"nightly-{TOKEN.format(number)}"


# -- one Job for each launch ---------------------------------------------------------------------


async def test_a_made_job_has_no_pod_until_it_is_started(bench):
    handle = await bench.launcher.create(bench.spec())
    assert handle.pid == f"{UID}:default:{name()}"
    assert bench.cluster.jobs[name()]["spec"]["parallelism"] == 0
    found = await bench.launcher.find(bench.sought())
    assert (found.started, found.alive, found.handle) == (False, True, handle)
    await bench.launcher.start(handle)
    await bench.launcher.start(handle)
    assert bench.cluster.jobs[name()]["spec"]["parallelism"] == 1
    found = await bench.agent().find(bench.sought(pid=handle.pid))
    assert (found.started, found.alive) == (True, True)


async def test_a_second_create_takes_the_first_one_over(bench):
    first = await bench.launcher.create(bench.spec())
    assert await bench.agent().create(bench.spec()) == first
    assert len(bench.cluster.jobs) == 1


async def test_a_job_of_that_name_that_is_not_ours_is_no_launch(bench):
    bench.cluster.jobs[name()] = {"metadata": {"name": name(), "labels": {}}, "spec": {}}
    with pytest.raises(NotStarted, match="already exists"):
        await bench.launcher.create(bench.spec())


async def test_a_lost_answer_makes_no_second_job(bench):
    bench.cluster.lose("POST", "/jobs")
    handle = await bench.launcher.create(bench.spec())
    bench.cluster.lose("PATCH", "/jobs")
    await bench.launcher.start(handle)
    assert list(bench.cluster.jobs) == [name()]
    assert bench.cluster.count("POST", "/jobs") == 2


async def test_what_nobody_made_was_never_started(bench):
    found = await bench.launcher.find(bench.sought())
    assert (found.started, found.alive, found.handle.pid) == (False, False, None)


async def test_a_job_of_another_cluster_cannot_be_known(bench):
    pid = f"other-uid:default:{name()}"
    assert await bench.launcher.find(bench.sought(pid=pid)) is None
    assert bench.launcher.owns(pid)
    assert not bench.launcher.owns("host:123")


async def test_a_started_job_that_is_gone_cannot_be_started(bench):
    handle = await bench.launcher.create(bench.spec())
    bench.cluster.deletes(name())
    with pytest.raises(NotLaunchable, match="gone"):
        await bench.launcher.start(handle)


async def test_a_job_that_is_being_deleted_is_neither_taken_over_nor_started(bench):
    handle = await bench.launcher.create(bench.spec())
    job = bench.cluster.jobs[name()]
    job["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    with pytest.raises(Transient, match="being deleted"):
        await bench.launcher.create(bench.spec())
    with pytest.raises(NotLaunchable, match="gone"):
        await bench.launcher.start(handle)
    del bench.cluster.jobs[name()]
    assert await bench.launcher.create(bench.spec()) == handle


# -- ends ----------------------------------------------------------------------------------------


async def test_success_and_failure_are_told_with_code_and_last_lines(bench):
    handle = await bench.launch(1)
    bench.cluster.logs[f"{name()}-pod"] = [f"2026-01-01T00:00:0{n}Z line {n}" for n in range(3)]
    ended = await bench.end_of(handle, lambda: bench.cluster.ends(name(), 3))
    assert (ended.exit_code, ended.last_lines) == (3, ("line 0", "line 1", "line 2"))
    assert ended.reason == "the container ended with exit code 3"
    handle = await bench.launch(2)
    ended = await bench.end_of(handle, lambda: bench.cluster.ends(name(2)))
    assert ended.exit_code == 0


async def test_what_a_node_says_in_place_of_a_log_is_not_taken_for_one(bench):
    handle = await bench.launch()
    bench.cluster.logs[f"{name()}-pod"] = ["2026-01-01T00:00:00Z the true end"]
    bench.cluster.unlinked = 2
    ended = await bench.end_of(handle, lambda: bench.cluster.ends(name(), 3))
    assert ended.last_lines == ("the true end",)
    handle = await bench.launch(2)
    bench.cluster.unlinked = 100
    ended = await bench.end_of(handle, lambda: bench.cluster.ends(name(2), 3))
    assert ended.last_lines == ()


async def test_a_log_that_is_still_empty_is_looked_at_again(bench):
    handle = await bench.launch()
    bench.cluster.logs[f"{name()}-pod"] = ["2026-01-01T00:00:00Z the only line"]
    bench.cluster.unlinked, bench.cluster.unwritten = 4, 3
    ended = await bench.end_of(handle, lambda: bench.cluster.ends(name()))
    assert ended.last_lines == ("the only line",)


async def test_a_cluster_that_fails_for_a_moment_costs_no_last_lines(bench):
    handle = await bench.launch()
    bench.cluster.logs[f"{name()}-pod"] = ["2026-01-01T00:00:00Z the true end"]
    bench.cluster.fail(500, "GET", "/log", times=3)
    ended = await bench.end_of(handle, lambda: bench.cluster.ends(name(), 3))
    assert ended.last_lines == ("the true end",)


async def test_output_that_could_not_be_read_says_so(bench):
    handle = await bench.launch()
    bench.cluster.fail(500, "GET", "/log", times=100)
    ended = await bench.end_of(handle, lambda: bench.cluster.ends(name(), 3))
    assert ended.exit_code == 3
    assert ended.last_lines == ("(its output could not be read: the cluster is busy: told so)",)


async def test_the_end_of_a_job_does_not_wait_for_ever_for_its_log(bench):
    handle = await bench.launch()
    bench.cluster.mute = True
    ended = await bench.end_of(handle, lambda: bench.cluster.ends(name(), 3))
    assert ended.exit_code == 3
    assert "did not answer within" in ended.last_lines[0]


async def test_a_known_cluster_is_found_though_the_agents_own_does_not_answer(cluster, tmp_path):
    own = {"server": "http://127.0.0.1:1"}
    config = {
        "kind": "Config",
        "current-context": "own",
        "contexts": [{"name": "own", "context": {"cluster": "own"}}],
        "clusters": [{"name": "own", "cluster": own}],
    }
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(config))
    for _ in range(8):  # clusters have no order of their own
        clusters = Clusters(PlatformSettings(kubeconfig=str(file)), HurriedClock())
        known = clusters.of(KubernetesClusterConfigSettings(**cluster.config("good")))
        assert await clusters.by_uid(await known.uid()) is known
        await clusters.close()


async def test_an_end_before_anybody_watched_is_told(bench):
    handle = await bench.launch()
    bench.cluster.ends(name(), 4)
    async with bench.watching():
        assert (await bench.launcher.ended(handle)).exit_code == 4


async def test_an_end_told_before_the_pods_end_has_its_exit_code(bench):
    handle = await bench.launch()
    bench.cluster.runs(name())

    def act():
        pod = bench.cluster.pods[f"{name()}-pod"]  # its own change is still on its way
        pod["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 7}}
        bench.cluster.ends(name(), 1, pod=False)

    assert (await bench.end_of(handle, act)).exit_code == 7


async def test_word_of_an_undone_job_that_comes_late_is_no_end_of_the_one_made_anew(bench):
    handle = await bench.launch()

    def act():
        bench.cluster.says_late_that_it_deleted(name())
        bench.cluster.ends(name(), 5)

    assert (await bench.end_of(handle, act)).exit_code == 5


async def test_a_full_memory_is_named(bench):
    handle = await bench.launch()
    ended = await bench.end_of(handle, lambda: bench.cluster.ends(name(), 137, "OOMKilled"))
    assert "OOM" in ended.reason


async def test_a_job_that_somebody_deletes_has_ended(bench):
    handle = await bench.launch()
    ended = await bench.end_of(handle, lambda: bench.cluster.deletes(name()))
    assert (ended.exit_code, ended.reason) == (None, "the job was deleted by somebody else")


async def test_a_pod_that_is_taken_away_is_not_replaced(bench):
    """Before Kubernetes 1.26 the Job makes another one, which would run the flow again."""
    handle = await bench.launch()
    bench.cluster.runs(name())
    ended = await bench.end_of(handle, lambda: bench.cluster.takes_pod_away(name()))
    assert "deleted by somebody else" in ended.reason
    assert bench.cluster.jobs == {}


async def test_a_late_start_deletes_the_job_and_says_what_is_in_the_way(bench):
    handle = await bench.launch(pod_watch_timeout_seconds=50)
    bench.cluster.warnings[f"{name()}-pod"] = ["0/3 nodes are available: 3 Insufficient cpu."]
    bench.cluster.runs(name(), "ContainerCreating", message="")
    ended = await bench.end_of(handle, lambda: None)
    assert ended.reason.startswith("the job did not start within 50 s")
    assert "Insufficient cpu" in ended.reason
    assert bench.cluster.jobs == {}


async def test_an_image_that_cannot_be_pulled_is_named_with_the_registrys_words(bench):
    handle = await bench.launch(pod_watch_timeout_seconds=50)
    words = "manifest for etl:9 not found"
    bench.cluster.runs(name(), "ErrImagePull", message=words)
    ended = await bench.end_of(handle, lambda: None)
    assert words in ended.reason
    assert "image" in ended.reason


async def test_an_image_name_that_is_none_is_not_waited_for(bench):
    handle = await bench.launch(pod_watch_timeout_seconds=100000)
    ended = await bench.end_of(
        handle, lambda: bench.cluster.runs(name(), "InvalidImageName", message="bad")
    )
    assert "bad" in ended.reason


async def test_a_quota_that_lets_no_pod_be_made_is_named(bench):
    handle = await bench.launch(pod_watch_timeout_seconds=50)
    bench.cluster.warnings[name()] = ["pods is forbidden: exceeded quota: team-a"]
    ended = await bench.end_of(handle, lambda: None)
    assert "exceeded quota: team-a" in ended.reason


async def test_a_job_that_runs_too_long_is_deleted(bench):
    handle = await bench.launch(job_watch_timeout_seconds=20)
    ended = await bench.end_of(handle, lambda: bench.cluster.runs(name()))
    assert "job_watch_timeout_seconds (20 s)" in ended.reason
    assert bench.cluster.jobs == {}


# -- streams -------------------------------------------------------------------------------------


async def test_a_broken_stream_goes_on_from_where_it_was(bench):
    handle = await bench.launch()

    def act():
        bench.cluster.break_streams()
        bench.cluster.ends(name(), 5)

    lists = []
    ended = await bench.end_of(
        handle, lambda: (lists.append(bench.cluster.count("GET", "jobs?")), act())
    )
    assert ended.exit_code == 5
    assert bench.cluster.count("GET", "jobs?") == lists[0], "nothing was listed anew"


async def test_a_forgotten_place_has_everything_listed_once_more(bench):
    handle = await bench.launch()

    def act():
        bench.cluster.ends(name(), 6)
        bench.cluster.break_streams(forget=True)

    assert (await bench.end_of(handle, act)).exit_code == 6


async def test_errors_of_the_api_are_waited_out(bench):
    handle = await bench.launch()

    def act():
        bench.cluster.fail(503, "GET", "/jobs", times=3)
        bench.cluster.fail(429, "GET", "/pods", times=2, headers={"Retry-After": "1"})
        bench.cluster.break_streams()
        bench.cluster.ends(name(), 2)

    assert (await bench.end_of(handle, act)).exit_code == 2


async def test_the_number_of_streams_does_not_grow_with_the_runs(bench):
    for number in range(1, 9):
        await bench.launch(number)
    async with bench.watching() as group:
        handles = [(await bench.launcher.find(bench.sought(n))).handle for n in range(1, 9)]
        for handle in handles:
            group.start_soon(bench.launcher.ended, handle)
        for handle in handles:
            await bench.watched(handle)
        await bench.quiet()
        before = len(bench.cluster.api.requests)
        await anyio.sleep(0.3)  # half a minute on the agent's clock
        assert len(bench.cluster.api.requests) - before <= 2
        assert bench.cluster.count("GET", "/jobs", watch=True) == 1
        assert bench.cluster.count("GET", "/pods", watch=True) == 1


async def test_output_is_passed_on_once_though_its_stream_is_read_again(bench):
    handle = await bench.launch(stream_output=True)
    pod = f"{name()}-pod"
    bench.cluster.logs[pod] = [f"2026-01-01T00:00:00.{n}Z line {n}" for n in range(1, 4)]

    def act():
        bench.cluster.fail(500, "GET", "/log")
        bench.cluster.runs(name())
        bench.cluster.ends(name())

    ended = await bench.end_of(handle, act)
    assert bench.shown == [("run-1", f"line {n}") for n in range(1, 4)]
    assert ended.last_lines == ("line 1", "line 2", "line 3")
    assert await bench.launcher.logs(bench.sought(), 2) == ("line 2", "line 3")


# -- stop and discard ----------------------------------------------------------------------------


async def test_a_stop_returns_when_the_job_is_gone(bench):
    handle = await bench.launch()
    bench.cluster.runs(name())
    await bench.launcher.stop(handle, 5)
    assert (bench.cluster.jobs, bench.cluster.pods) == ({}, {})
    await bench.launcher.stop(handle, 5)


@pytest.mark.parametrize(("ttl", "kept"), [(None, True), (0, False), (59, False), (60, True)])
async def test_an_ended_job_stays_unless_its_time_to_live_is_short(bench, ttl, kept):
    handle = await bench.launch(finished_job_ttl=ttl)
    bench.cluster.ends(name())
    await bench.launcher.discard(handle)
    assert bool(bench.cluster.jobs) is kept


async def test_a_job_that_was_never_started_is_removed(bench):
    handle = await bench.launcher.create(bench.spec())
    await bench.launcher.discard(handle)
    assert bench.cluster.jobs == {}
    await bench.launcher.discard(handle)
    assert not (await bench.launcher.find(bench.sought(pid=handle.pid))).started


# -- refusals ------------------------------------------------------------------------------------


async def test_expired_credentials_are_said_before_anything_is_made(bench):
    with pytest.raises(NotStarted, match="credentials, expired or wrong"):
        await bench.launcher.create(bench.spec(token="stale"))
    assert bench.cluster.jobs == {}
    assert await bench.launcher.find(bench.sought(token="stale")) is None
    pid = f"{UID}:default:{name()}"
    with pytest.raises(Transient):
        await bench.launcher.find(bench.sought(pid=pid, token="stale"))


async def test_a_refused_token_is_read_anew_once(bench):
    bench.cluster.fail(401, "POST", "/jobs")
    await bench.launcher.create(bench.spec())
    assert list(bench.cluster.jobs) == [name()]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, NotStarted), (404, NotStarted), (422, NotLaunchable), (400, NotLaunchable)],
)
async def test_a_refusal_has_the_clusters_words(bench, status, kind):
    bench.cluster.fail(status, "POST", "/jobs", "exceeded quota: count/jobs.batch=10")
    with pytest.raises(kind, match="exceeded quota: count/jobs"):
        await bench.launcher.create(bench.spec())


@pytest.mark.parametrize(("status", "headers"), [(429, {"Retry-After": "3"}), (500, {}), (503, {})])
async def test_a_busy_cluster_is_asked_again(bench, status, headers):
    bench.cluster.fail(status, "POST", "/jobs", times=3, headers=headers)
    await bench.launcher.create(bench.spec())
    assert bench.cluster.count("POST", "/jobs") == 4


async def test_a_cluster_that_stays_busy_leaves_the_launch_open(bench):
    bench.cluster.fail(503, "POST", "/jobs", times=20)
    with pytest.raises(Transient, match="busy"):
        await bench.launcher.create(bench.spec())


async def test_what_the_cluster_quotes_from_our_request_is_not_shown(bench):
    quoted = 'cannot unmarshal string into int, error found in #10 byte of ...|"canary"|...'
    bench.cluster.fail(400, "POST", "/jobs", quoted)
    with pytest.raises(NotLaunchable) as told:
        await bench.launcher.create(bench.spec())
    assert "canary" not in str(told.value)
    assert "cannot unmarshal" in str(told.value)


async def test_a_cluster_that_is_away_is_named_before_the_launch(bench):
    settings = bench.settings()
    settings.cluster_config.config["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:9"
    spec = LaunchSpec(TOKEN.format(1), "run-1", "n", "kubernetes-job", settings)
    with pytest.raises(NotStarted, match="does not answer"):
        await bench.launcher.create(spec)


@pytest.mark.parametrize(
    "config",
    [{}, {"clusters": "none"}, {"contexts": [{"name": "c", "context": {"user": "x"}}]}],
    ids=str,
)
async def test_a_kubeconfig_that_can_not_be_used_is_named(bench, config):
    block = {"config": config, "context_name": "c"}
    settings = KubernetesJobSettings(cluster_config=block)
    spec = LaunchSpec(TOKEN.format(1), "run-1", "n", "kubernetes-job", settings)
    with pytest.raises(NotLaunchable, match="cluster_config can't be used"):
        await bench.launcher.create(spec)


# -- pre-flight ----------------------------------------------------------------------------------


async def test_a_cluster_that_has_everything_is_fine(bench):
    assert await bench.launcher.preflight(bench.settings(), API) == ()


async def test_lacking_permissions_are_listed(bench):
    bench.cluster.denied = {("watch", "jobs"), ("get", "pods/log")}
    [told] = await bench.launcher.preflight(bench.settings(), API)
    assert "may not watch jobs, get pods/log" in told


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"namespace": "none"}, "kubectl create namespace none"),
        ({"service_account_name": "none"}, "service_account_name: namespace default has no"),
        ({"job": {"kind": "Pod"}}, "job: kind must be 'Job'"),
        ({"customizations": [{"op": "remove", "path": "/no"}]}, r"customizations[0] (remove /no)"),
        ({"env": {"PREFECT_API_URL": "http://localhost:4200/api"}}, "a pod finds itself there"),
    ],
    ids=str,
)
async def test_what_is_missing_is_said(bench, settings, words):
    [told] = await bench.launcher.preflight(bench.settings(**settings), API)
    assert words in told


async def test_expired_credentials_are_said(bench):
    [told] = await bench.launcher.preflight(bench.settings("stale"), API)
    assert "credentials, expired or wrong" in told


async def test_the_identity_of_a_cluster_must_be_readable_or_set(bench):
    bench.cluster.fail(403, "GET", "kube-system", "namespaces is forbidden")
    [told] = await bench.launcher.preflight(bench.settings(), API)
    assert "RECONCILER_KUBERNETES_CLUSTER_UID" in told
