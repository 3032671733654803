"""The Azure launcher through Azure's own clients: one group for each launch, ends, refusals, calls."""

from contextlib import asynccontextmanager

import anyio
import pytest

from reconciler.blocks.azure import AzureContainerInstanceJobSettings
from reconciler.errors import Transient
from reconciler.infrastructure.azure import AzureLauncher
from reconciler.infrastructure.base import NotLaunchable, NotStarted, Surroundings
from reconciler.model.launch import LaunchSpec, Sought
from reconciler.settings import PlatformSettings
from tests.fakes.engine import FakeEngine
from tests.fakes.hurried_clock import HurriedClock
from tests.testbed.azure import GROUP, SUBSCRIPTION, Azure
from tests.testbed.containers import NEVER
from tests.testbed.http_api import Broken, Reply

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

TOKEN = "11111111-1111-8111-8111-11111111111{}"
IMAGE = "registry.example.com/etl:1"
API = "https://prefect.example.com/api"


@pytest.fixture
def engine():
    return FakeEngine(IMAGE)


@pytest.fixture
def cloud(engine):
    with Azure(engine) as made:
        yield made


class Bench:
    def __init__(self, cloud, engine, folder):
        self.cloud, self.engine, self.folder = cloud, engine, folder
        self.shown = []
        self.launcher = self.agent()

    def agent(self):
        return AzureLauncher(
            Surroundings(
                state_dir=self.folder,
                host_dir=self.folder,
                inherited=dict,
                python="python3",
                clock=HurriedClock(),
                output=lambda run, line: self.shown.append((run, line)),
                images=IMAGE,
                platforms=PlatformSettings(
                    azure_endpoint=self.cloud.url,
                    azure_authority=self.cloud.url,
                    ca_file=self.cloud.ca_file,
                ),
            )
        )

    def settings(self, **settings):
        given = {
            "aci_credentials": self.cloud.credentials(),
            "resource_group_name": GROUP,
            "subscription_id": SUBSCRIPTION,
            "entrypoint": None,
            **settings,
        }
        return AzureContainerInstanceJobSettings(**given)

    def spec(self, number=1, **settings):
        made, run = self.settings(**settings), f"run-{number}"
        env = {"PREFECT__FLOW_RUN_ID": run, "PASSWORD": "canary"}
        return LaunchSpec(
            TOKEN.format(number), run, "nightly", "aci", made, env, command=("flow", "run")
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

    def disturb(self, method, part, *, after=False, times=1, status=None, code="ToldSo"):
        """Cut off or refuse the next such requests, before or after the work."""
        routed, left = self.cloud.api.before, [times]

        def before(request):
            if request.method == method and part in request.path and left[0]:
                left[0] -= 1
                if status:
                    words = f"told so about {SUBSCRIPTION}"
                    return Reply(status, {"error": {"code": code, "message": words}})
                if after:
                    self.cloud.api.answer(request)
                raise Broken
            return routed(request)

        self.cloud.api.before = before


@pytest.fixture
def bench(cloud, engine, tmp_path):
    return Bench(cloud, engine, tmp_path)


def name(number=1):
    return f"nightly-{TOKEN.format(number)}"


# -- one group for each launch -------------------------------------------------------------------


async def test_preparing_makes_nothing(bench):
    handle = await bench.launcher.create(bench.spec())
    assert handle.pid == name()
    assert (bench.cloud.groups, bench.engine.made) == ({}, [])
    found = await bench.launcher.find(bench.sought(pid=handle.pid))
    assert (found.started, found.alive) == (False, False)


async def test_a_start_given_twice_makes_one_group(bench):
    handle = await bench.launch()
    await bench.launcher.start(handle)
    other = bench.agent()
    await other.create(bench.spec())
    await other.start(handle)
    assert len(bench.engine.made) == 1
    for sought in (bench.sought(pid=handle.pid), bench.sought()):
        found = await bench.agent().find(sought)
        assert (found.started, found.alive, found.handle.pid) == (True, True, name())


async def test_agents_that_start_one_launch_at_once_make_one_group(bench):
    agents = [bench.agent() for _ in range(4)]
    handles = [await agent.create(bench.spec()) for agent in agents]
    async with anyio.create_task_group() as group:
        for agent, handle in zip(agents, handles, strict=True):
            group.start_soon(agent.start, handle)
    assert len(bench.engine.made) == 1


async def test_an_ended_group_is_not_started_again(bench):
    handle = await bench.launch()
    await bench.end_of(handle, lambda: bench.engine.end("run-1"))
    other = bench.agent()
    await other.create(bench.spec())
    await other.start(handle)
    assert len(bench.engine.made) == 1


async def test_a_start_whose_answer_is_lost_is_found(bench):
    handle = await bench.launcher.create(bench.spec())
    bench.disturb("PUT", "containerGroups", after=True)
    with pytest.raises(Transient):
        await bench.launcher.start(handle)
    found = await bench.launcher.find(bench.sought())
    assert (found.started, found.alive) == (True, True)


async def test_a_launch_that_another_agent_prepared_must_be_prepared_anew(bench):
    handle = await bench.launcher.create(bench.spec())
    with pytest.raises(NotLaunchable, match="prepared by an agent that is gone"):
        await bench.agent().start(handle)


async def test_only_its_own_pids_are_its_own(bench):
    assert bench.launcher.owns(name())
    assert not bench.launcher.owns("host:1")
    assert not bench.launcher.owns(f"uid:ns:{name()}")


async def test_secret_variables_are_in_no_answer(bench):
    await bench.launch()
    shown = str(await bench.launcher._prepared[TOKEN.format(1)].place.group())
    assert "canary" not in shown
    assert bench.engine.container("run-1").env["PASSWORD"] == "canary"


# -- ends ----------------------------------------------------------------------------------------


async def test_success_and_failure_are_told_with_code_and_last_lines(bench):
    handle = await bench.launch(1)
    ended = await bench.end_of(handle, lambda: bench.engine.end("run-1", 3, "one", "two"))
    assert (ended.exit_code, ended.last_lines) == (3, ("one", "two"))
    assert ended.reason == "the container ended with exit code 3"
    handle = await bench.launch(2)
    assert (await bench.end_of(handle, lambda: bench.engine.end("run-2"))).exit_code == 0
    await bench.launcher.discard(handle)
    assert await bench.launcher.logs(bench.sought(1), 1) == ("two",)


async def test_a_full_memory_is_named(bench):
    handle = await bench.launch()

    def act():
        bench.engine.end("run-1", 137)
        while "Terminated" not in str(bench.cloud.groups):
            pass
        container = bench.cloud.groups[name()]["properties"]["containers"][0]
        container["properties"]["instanceView"]["currentState"]["detailStatus"] = "OOMKilled"

    assert "OOM" in (await bench.end_of(handle, act)).reason


async def test_a_group_that_somebody_deletes_has_ended(bench):
    handle = await bench.launch()
    ended = await bench.end_of(handle, bench.cloud.clear)
    assert ended.reason == "the container group was deleted by somebody else"


async def test_a_late_start_deletes_the_group(bench):
    handle = await bench.launch(image=NEVER, task_start_timeout_seconds=20)
    ended = await bench.end_of(handle)
    assert ended.reason.startswith("the container did not start within 20 s")
    assert bench.cloud.groups == {}


async def test_output_is_passed_on_once(bench):
    handle = await bench.launch(stream_output=True)

    def act():
        bench.engine.container("run-1").started.wait(10)
        bench.engine.container("run-1").lines += ["one", "two"]

    await anyio.to_thread.run_sync(act)
    async with bench.watching() as group:
        group.start_soon(bench.launcher.ended, handle)
        while len(bench.shown) < 2:
            await anyio.sleep(0.01)
        await anyio.to_thread.run_sync(bench.engine.end, "run-1", 0, "three")
        while len(bench.shown) < 3:
            await anyio.sleep(0.01)
    assert bench.shown == [("run-1", line) for line in ("one", "two", "three")]


async def test_a_stop_returns_when_the_group_is_gone(bench):
    handle = await bench.launch()
    bench.engine.container("run-1").started.wait(10)
    bench.engine.container("run-1").lines.append("so far")
    await bench.launcher.stop(handle, 5)
    assert bench.engine.container("run-1").code == 137
    assert bench.cloud.groups == {}
    await bench.launcher.stop(handle, 5)
    assert await bench.launcher.logs(bench.sought(), 5) == ("so far",), "it is kept"


async def test_a_discard_leaves_nothing(bench):
    handle = await bench.launch()
    await bench.end_of(handle, lambda: bench.engine.end("run-1"))
    await bench.launcher.discard(handle)
    assert bench.cloud.groups == {}
    await bench.launcher.discard(handle)


# -- calls and refusals --------------------------------------------------------------------------


async def test_no_round_reads_more_than_its_share_of_groups(bench):
    settings = {"task_watch_poll_interval": 50}
    handles = [await bench.launch(number, **settings) for number in range(1, 9)]
    async with bench.watching() as group:
        for handle in handles:
            group.start_soon(bench.launcher.ended, handle)
        await anyio.sleep(1.0)  # two rounds on the agent's clock
        before = len(bench.cloud.api.requests)
        await anyio.sleep(1.0)
        calls = bench.cloud.api.requests[before:]
    lists = [line for line in calls if "containerGroups?" in line]
    assert len(calls) <= (len(lists) + 1) * (1 + len(handles))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "InvalidParameter", NotLaunchable),
        (400, "InaccessibleImage", NotStarted),
        (403, "AuthorizationFailed", NotStarted),
        (409, "ContainerGroupQuotaReached", NotStarted),
        (409, "ContainerGroupTransitioning", Transient),
        (429, "TooManyRequests", Transient),
        (503, "ServiceUnavailable", Transient),
    ],
    ids=str,
)
async def test_a_refusal_has_azures_words_and_no_subscription(bench, status, code, kind):
    handle = await bench.launcher.create(bench.spec())
    bench.disturb("PUT", "containerGroups", status=status, code=code)
    with pytest.raises(kind, match=rf"told so about \*\*\* \({code}\)") as told:
        await bench.launcher.start(handle)
    assert SUBSCRIPTION not in str(told.value)
    assert type(told.value).__mro__.index(kind) <= 1


async def test_an_image_that_is_not_there_is_named(bench):
    handle = await bench.launcher.create(bench.spec(image="none:1"))
    with pytest.raises(NotStarted, match=r"image 'none:1' .* is not accessible"):
        await bench.launcher.start(handle)


async def test_a_resource_group_that_is_not_there_is_named(bench):
    with pytest.raises(NotStarted, match=r"resource_group_name: .*'none' was not found"):
        await bench.launcher.create(bench.spec(resource_group_name="none"))


async def test_expired_credentials_are_named_and_not_shown(bench):
    credentials = {**bench.cloud.credentials(), "client_secret": "canary"}
    with pytest.raises(NotStarted, match="check aci_credentials") as told:
        await bench.launcher.create(bench.spec(aci_credentials=credentials))
    assert "canary" not in str(told.value)
    assert await bench.launcher.find(bench.sought(aci_credentials=credentials)) is None
    with pytest.raises(Transient):
        await bench.launcher.find(bench.sought(pid=name(), aci_credentials=credentials))


async def test_a_secret_needs_its_tenant_and_client(bench):
    with pytest.raises(NotLaunchable, match="needs tenant_id and client_id"):
        await bench.launcher.create(bench.spec(aci_credentials={"client_secret": "x"}))


async def test_a_certificate_that_is_not_trusted_is_named(bench, tmp_path):
    launcher = AzureLauncher(
        Surroundings(
            state_dir=tmp_path,
            host_dir=tmp_path,
            inherited=dict,
            python="python3",
            clock=HurriedClock(),
            platforms=PlatformSettings(
                azure_endpoint=bench.cloud.url, azure_authority=bench.cloud.url
            ),
        )
    )
    with pytest.raises(NotStarted, match="certificate is not trusted"):
        await launcher.create(bench.spec())


async def test_the_pre_flight_names_what_is_wrong(bench):
    assert await bench.launcher.preflight(bench.settings(), API) == ()
    wrong = bench.settings(
        cpu=0,
        resource_group_name="none",
        env={"PREFECT_API_URL": "http://127.0.0.1:4200/api"},
    )
    told = await bench.launcher.preflight(wrong, API)
    assert "cpu must be more than 0" in told[0]
    assert "finds itself there" in told[1]
    assert "resource_group_name" in told[2]
