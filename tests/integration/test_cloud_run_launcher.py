"""The Cloud Run launcher through Google's own client: once, by a fence; ends; refusals; few calls."""

from contextlib import asynccontextmanager, suppress

import anyio
import pytest

from reconciler.blocks.gcp import CloudRunJobSettings
from reconciler.errors import Transient
from reconciler.infrastructure.base import NotLaunchable, NotStarted, Surroundings
from reconciler.infrastructure.cloud_run import CloudRunLauncher
from reconciler.model.launch import LaunchSpec, Sought
from reconciler.settings import PlatformSettings
from tests.fakes.engine import FakeEngine
from tests.fakes.hurried_clock import HurriedClock
from tests.testbed.cloud_run import PROJECT, REGION, CloudRun
from tests.testbed.containers import NEVER
from tests.testbed.http_api import Broken, Reply

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

TOKEN = "11111111-1111-8111-8111-11111111111{}"
PARENT = f"projects/{PROJECT}/locations/{REGION}"
IMAGE = "europe-docker.pkg.dev/p/flows/etl:1"
API = "https://prefect.example.com/api"


@pytest.fixture
def engine():
    return FakeEngine(IMAGE)


@pytest.fixture
def cloud(engine):
    with CloudRun(engine) as made:
        yield made


class Bench:
    def __init__(self, cloud, engine, folder):
        self.cloud, self.engine, self.folder = cloud, engine, folder
        self.launcher = self.agent()

    def agent(self):
        return CloudRunLauncher(
            Surroundings(
                state_dir=self.folder,
                host_dir=self.folder,
                inherited=dict,
                python="python3",
                clock=HurriedClock(),
                platforms=PlatformSettings(
                    cloud_run_endpoint=self.cloud.url, cloud_logging_endpoint=self.cloud.url
                ),
            )
        )

    def settings(self, **settings):
        given = {
            "image": IMAGE,
            "region": REGION,
            "credentials": {"service_account_info": self.cloud.key()},
            **settings,
        }
        return CloudRunJobSettings(**given)

    def spec(self, number=1, **settings):
        made, run = self.settings(**settings), f"run-{number}"
        env = {"PREFECT__FLOW_RUN_ID": run}
        return LaunchSpec(
            TOKEN.format(number), run, "nightly", "cloud-run-job", made, env, command=("flow",)
        )

    def sought(self, number=1, pid=None, **settings):
        return Sought(TOKEN.format(number), f"run-{number}", pid, self.settings(**settings))

    async def launch(self, number=1, **settings):
        handle = await self.launcher.create(self.spec(number, **settings))
        return await self.launcher.start(handle)

    @asynccontextmanager
    async def watching(self):
        async with anyio.create_task_group() as group:
            group.start_soon(self.launcher.watch)
            yield group
            group.cancel_scope.cancel()

    async def end_of(self, handle, act=lambda: None):
        await anyio.to_thread.run_sync(act)
        async with self.watching():
            return await self.launcher.ended(handle)

    def disturb(self, method, part, *, after=False, times=1, status=None):
        """Cut off or refuse the next such requests, before or after the work."""
        routed, left = self.cloud.api.before, [times]

        def before(request):
            if request.method == method and part in request.path and left[0]:
                left[0] -= 1
                if status:
                    return Reply(status, {"error": {"code": status, "message": "told so"}})
                if after:
                    self.cloud.api.answer(request)
                raise Broken
            return routed(request)

        self.cloud.api.before = before


@pytest.fixture
def bench(cloud, engine, tmp_path):
    return Bench(cloud, engine, tmp_path)


def job(number=1):
    return f"{PARENT}/jobs/prefect-{TOKEN.format(number)}"


# -- one execution for each launch ---------------------------------------------------------------


async def test_making_a_job_runs_nothing(bench):
    handle = await bench.launcher.create(bench.spec())
    assert handle.pid == job()
    assert bench.engine.made == []
    found = await bench.launcher.find(bench.sought())
    assert (found.started, found.alive, found.handle) == (False, True, handle)


async def test_a_start_given_twice_runs_once(bench):
    handle = await bench.launch()
    await bench.launcher.start(handle)
    other = bench.agent()
    found = await other.find(bench.sought(pid=handle.pid))
    assert (found.started, found.alive) == (True, True)
    await other.start(handle)
    assert len(bench.engine.made) == 1


@pytest.mark.parametrize("after", [False, True])
async def test_a_start_whose_answer_is_lost_is_repeated_and_runs_once(bench, after):
    handle = await bench.launcher.create(bench.spec())
    bench.disturb("POST", ":run", after=after)
    await bench.launcher.start(handle)
    assert len(bench.engine.made) == 1


async def test_two_agents_that_start_one_job_at_once_run_it_once(bench):
    handle = await bench.launcher.create(bench.spec())
    agents = [bench.agent() for _ in range(4)]

    async def start(agent):
        with suppress(Transient):  # each try of one spoils the others': they give up, and ask again
            await agent.start(handle)

    async with anyio.create_task_group() as group:
        for agent in agents:
            agent._settings[handle.token] = bench.settings()
            group.start_soon(start, agent)
    await agents[0].start(handle)
    assert len(bench.engine.made) == 1


async def test_a_request_to_run_that_comes_late_is_refused(bench):
    """What an agent that died had on its way must not run beside what the next one starts."""
    handle = await bench.launcher.create(bench.spec())
    account = bench.launcher._place(handle).account
    stale = (await account.job(job()))["etag"]
    await bench.launcher.start(handle)
    with pytest.raises(NotStarted, match="version mismatch"):
        await account.run(job(), stale)
    assert len(bench.engine.made) == 1


async def test_a_second_create_takes_the_first_one_over(bench):
    first = await bench.launcher.create(bench.spec())
    assert await bench.agent().create(bench.spec()) == first


async def test_a_lost_answer_makes_no_second_job(bench):
    bench.disturb("POST", "/jobs", after=True)
    await bench.launcher.create(bench.spec())
    assert list(bench.cloud.jobs) == [job()]


async def test_what_nobody_made_was_never_started(bench):
    found = await bench.launcher.find(bench.sought())
    assert (found.started, found.alive, found.handle.pid) == (False, False, None)
    assert await bench.launcher.find(Sought("t", "run")) is None


async def test_only_its_own_pids_are_its_own(bench):
    assert bench.launcher.owns(job())
    assert not bench.launcher.owns("host:1")
    assert not bench.launcher.owns("uid:ns:job")


# -- ends ----------------------------------------------------------------------------------------


async def test_success_and_failure_are_told_with_code_and_last_lines(bench):
    handle = await bench.launch(1)
    ended = await bench.end_of(handle, lambda: bench.engine.end("run-1", 3, "one", "two"))
    assert (ended.exit_code, ended.last_lines) == (3, ("one", "two"))
    assert ended.reason == "the container ended with exit code 3"
    handle = await bench.launch(2)
    assert (await bench.end_of(handle, lambda: bench.engine.end("run-2"))).exit_code == 0
    assert await bench.launcher.logs(bench.sought(1), 1) == ("two",)


async def test_a_job_that_somebody_deletes_has_ended(bench):
    handle = await bench.launch()
    ended = await bench.end_of(handle, bench.cloud.clear)
    assert ended.reason == "the Cloud Run job was deleted by somebody else"


async def test_an_execution_that_never_shows_up_is_an_end_and_not_started_again(bench):
    handle = await bench.launcher.create(bench.spec())
    ended = await bench.end_of(handle)
    assert "made no execution of it" in ended.reason
    assert bench.engine.made == []


async def test_a_late_start_is_cancelled_with_its_reason(bench):
    handle = await bench.launch(image=NEVER, timeout=20)
    ended = await bench.end_of(handle)
    assert ended.reason.startswith("the execution did not start within 20 s")


async def test_an_image_that_is_not_there_is_named_and_leaves_no_job(bench):
    with pytest.raises(NotStarted, match=r"image none:1: Image 'none:1' not found"):
        await bench.launcher.create(bench.spec(image="none:1"))
    assert bench.cloud.jobs == {}


@pytest.mark.parametrize("keep", [False, True])
async def test_a_stop_returns_when_nothing_runs_and_the_job_is_gone(bench, keep):
    handle = await bench.launch(keep_job=keep)
    bench.engine.container("run-1").started.wait(10)
    bench.engine.container("run-1").lines.append("so far")
    await bench.launcher.stop(handle, 5)
    assert bench.engine.container("run-1").code == 137
    assert bool(bench.cloud.jobs) is keep
    assert [one["cancelledCount"] for one in bench.cloud.executions.values()] == [1] * keep
    await bench.launcher.stop(handle, 5)
    assert await bench.launcher.logs(bench.sought(), 5) == ("so far",), "it is kept"


@pytest.mark.parametrize("keep", [False, True])
async def test_an_ended_job_is_deleted_unless_it_is_to_be_kept(bench, keep):
    handle = await bench.launch(keep_job=keep)
    await bench.end_of(handle, lambda: bench.engine.end("run-1"))
    await bench.launcher.discard(handle)
    assert bool(bench.cloud.jobs) is keep


async def test_a_job_that_never_ran_is_deleted_even_if_it_is_to_be_kept(bench):
    handle = await bench.launcher.create(bench.spec(keep_job=True))
    await bench.launcher.discard(handle)
    assert bench.cloud.jobs == {}


# -- calls and refusals --------------------------------------------------------------------------


async def test_the_number_of_calls_does_not_grow_with_the_runs(bench):
    counts = {}
    for runs in (1, 6):
        handles = [await bench.launch(number) for number in range(1, runs + 1)]
        async with bench.watching() as group:
            for handle in handles:
                group.start_soon(bench.launcher.ended, handle)
            await anyio.sleep(0.1)
            before = len(bench.cloud.api.requests)
            while len(bench.cloud.api.requests) < before + 10:
                await anyio.sleep(0.01)
            counts[runs] = {line.split("?")[0] for line in bench.cloud.api.requests[before:]}
    assert counts[1] == counts[6] == {f"GET /v2/{PARENT}/jobs"}


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_service_is_asked_again(bench, status):
    bench.disturb("POST", "/jobs", status=status, times=3)
    await bench.launcher.create(bench.spec())
    assert list(bench.cloud.jobs) == [job()]


@pytest.mark.parametrize(("status", "kind"), [(400, NotLaunchable), (403, NotStarted)])
async def test_a_refusal_has_googles_words(bench, status, kind):
    bench.disturb("POST", "/jobs", status=status)
    with pytest.raises(kind, match="told so"):
        await bench.launcher.create(bench.spec())


async def test_credentials_that_are_not_taken_are_named(bench):
    bench.disturb("POST", "/token", status=400, times=100)
    with pytest.raises(NotStarted, match="check credentials"):
        await bench.launcher.create(bench.spec())
    assert await bench.launcher.find(bench.sought()) is None
    with pytest.raises(Transient):
        await bench.launcher.find(bench.sought(pid=job()))


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        ({"service_account_info": {"type": "canary"}}, "credentials.service_account_info can't"),
        (
            {"service_account_file": "/no/such.json"},
            "credentials.service_account_file can't be read",
        ),
    ],
    ids=["info", "file"],
)
async def test_a_key_that_can_not_be_used_is_named_and_not_shown(bench, credentials, words):
    with pytest.raises(NotLaunchable, match=words) as told:
        await bench.launcher.create(bench.spec(credentials=credentials))
    assert "canary" not in str(told.value)


async def test_the_pre_flight_names_what_is_wrong(bench):
    assert await bench.launcher.preflight(bench.settings(), API) == ()
    wrong = bench.settings(memory=1, env={"PREFECT_API_URL": "http://127.0.0.1:4200/api"})
    told = await bench.launcher.preflight(wrong, API)
    assert "memory needs memory_unit" in told[0]
    assert "finds itself there" in told[1]
    bench.disturb("GET", "/jobs", status=403)
    [told] = await bench.launcher.preflight(bench.settings(), API)
    assert "told so" in told
