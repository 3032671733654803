"""The Docker launcher on a real engine: identity, ends, output, networks, what is kept."""

from functools import partial

import anyio
import pytest

from reconciler.blocks.docker import DockerContainerSettings
from reconciler.errors import Transient
from reconciler.infrastructure.base import NotLaunchable, NotStarted
from reconciler.model.launch import Handle, LaunchSpec, Sought
from tests.fakes.hurried_clock import HurriedClock
from tests.integration.docker_bench import opened
from tests.testbed.fault import Fault, FaultProxy, Rule, When

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def bench(dockerd, tmp_path):
    return partial(opened, dockerd, tmp_path)


async def test_a_container_is_found_by_its_token_at_every_step(bench):
    async with bench() as b:
        spec = b.spec("import time; time.sleep(300)")
        never = await b.found(spec)
        assert (never.started, never.alive, never.handle.pid) == (False, False, None)

        handle = await b.launcher.create(spec)
        await b.agent()
        made = await b.found(spec)
        assert (made.started, made.alive, made.handle) == (False, True, handle)

        await b.launcher.start(handle)
        await b.agent()
        running = await b.found(spec)
        assert (running.started, running.alive, running.handle) == (True, True, handle)

        await b.launcher.stop(handle, 0)
        over = await b.found(spec)
        assert (over.started, over.alive) == (True, False)
        await b.launcher.discard(handle)
        assert b.containers() == []


async def test_two_creates_under_one_token_make_one_container(bench):
    async with bench() as b:
        spec = b.spec()
        first = await b.launcher.create(spec)
        await b.agent()
        assert await b.launcher.create(spec) == first
        assert len(b.containers()) == 1


async def test_a_second_start_runs_nothing_again(bench):
    async with bench() as b:
        handle = await b.started(b.spec("print('once')", auto_remove=False))
        b.wait(handle)
        await b.agent()
        await b.launcher.start(handle)
        b.wait(handle)
        log = b.engine.docker("logs", handle.pid.rpartition(":")[2])
        assert log == "once\n"


async def test_a_start_whose_answer_is_lost_is_not_repeated(bench, dockerd):
    async with bench() as b:
        with FaultProxy(
            "http://localhost", socket=dockerd.socket, streams=r"/events|follow=1"
        ) as proxy:
            await b.agent(proxy.url.replace("http://", "tcp://"))
            spec = b.spec("print('once')", auto_remove=False)
            handle = await b.launcher.create(spec)
            proxy.add(Rule(Fault.RESET, When.AFTER, path="/start$", limit=1))
            with pytest.raises(Transient):
                await b.launcher.start(handle)
            assert proxy.count("/start$") == 1
            found = await b.found(spec)
            assert found.started
            assert (await b.ended(found.handle)).exit_code == 0
            assert b.engine.docker("logs", handle.pid.rpartition(":")[2]) == "once\n"
            b.scope.cancel()


async def test_a_refusal_that_is_not_the_engines_own_passes_by_itself(bench, dockerd):
    async with bench() as b:
        with FaultProxy(
            "http://localhost", socket=dockerd.socket, streams=r"/events|follow=1"
        ) as proxy:
            await b.agent(proxy.url.replace("http://", "tcp://"))
            proxy.add(
                Rule(Fault.BUSY, path="/create", limit=2), Rule(Fault.BUSY, path="/start$", limit=1)
            )
            handle = await b.launcher.create(b.spec())
            with pytest.raises(Transient):
                await b.launcher.start(handle)
            await b.launcher.start(handle)
            assert (await b.ended(handle)).exit_code == 0
            b.scope.cancel()


async def test_the_output_is_streamed_and_ends_with_the_reason(bench):
    async with bench() as b:
        code = "import sys; print('one'); print('two', file=sys.stderr); sys.exit(7)"
        handle = await b.started(b.spec(code))
        ended = await b.ended(handle)
        assert ended.exit_code == 7
        assert "exit code 7" in ended.reason
        assert set(ended.last_lines) == {"one", "two"}
        assert set(b.lines) == {("run-1", "one"), ("run-1", "two")}
        await b.launcher.discard(handle)
        assert set(await b.launcher.logs(Sought("none", "run-1"), 10)) == {"one", "two"}, (
            "kept when it is gone"
        )


async def test_output_that_is_not_to_be_streamed_ends_up_in_the_reason_only(bench):
    async with bench() as b:
        handle = await b.started(b.spec("print('quiet')", stream_output=False))
        assert (await b.ended(handle)).last_lines == ("quiet",)
        assert b.lines == []


async def test_a_container_that_uses_up_its_memory_says_so(bench):
    async with bench() as b:
        handle = await b.started(b.spec("x = bytearray(200 * 2**20)", mem_limit="64m"))
        ended = await b.ended(handle)
        assert ended.exit_code == 137
        assert "memory" in ended.reason


async def test_a_container_that_somebody_removes_is_an_end(bench):
    async with bench() as b:
        handle = await b.started(b.spec("import time; time.sleep(300)"))
        async with anyio.create_task_group() as group:
            ends = []

            async def wait():
                ends.append(await b.ended(handle))

            group.start_soon(wait)
            await anyio.sleep(0.5)
            await anyio.to_thread.run_sync(
                partial(b.engine.docker, "rm", "--force", handle.pid.rpartition(":")[2])
            )
        assert ends[0].exit_code in {None, 137}
        assert ends[0].reason


async def test_an_end_that_came_while_no_agent_looked_is_told(bench):
    async with bench() as b:
        spec = b.spec("print('alone'); raise SystemExit(4)")
        handle = await b.started(spec)
        b.scope.cancel()
        b.wait(handle)
        await b.agent()
        found = await b.found(spec)
        ended = await b.ended(found.handle)
        assert (ended.exit_code, ended.last_lines) == (4, ("alone",))


async def test_a_command_that_the_image_lacks_is_refused_with_the_engines_words(bench):
    async with bench() as b:
        spec = LaunchSpec(
            token="33333333-3333-8333-8333-000000000000",
            flow_run_id="run",
            name="n",
            type="docker-container",
            settings=DockerContainerSettings(),
            command=("no-such-program",),
        )
        handle = await b.launcher.create(spec)
        with pytest.raises((NotStarted, NotLaunchable), match="no-such-program"):
            await b.launcher.start(handle)
        await b.launcher.discard(handle)
        assert b.containers() == []


async def test_an_image_that_is_nowhere_is_named_with_the_reason(bench):
    async with bench() as b:
        with pytest.raises(
            NotStarted, match=r"image 127.0.0.1:1/no/such:1 can't be pulled: .*refused"
        ):
            await b.launcher.create(b.spec(image="127.0.0.1:1/no/such:1"))
        with pytest.raises(NotStarted, match="No such image"):
            await b.launcher.create(b.spec(image="no/such:1", image_pull_policy="NEVER"))


async def test_all_networks_are_joined_and_a_missing_one_is_named(bench):
    async with bench() as b:
        for name in ("one", "two"):
            b.engine.docker("network", "create", name)
        handle = await b.launcher.create(b.spec(networks=["one", "two"]))
        joined = b.engine.inspect(handle.pid.rpartition(":")[2])["NetworkSettings"]["Networks"]
        assert set(joined) == {"one", "two"}
        with pytest.raises(NotStarted, match="network nowhere"):
            await b.launcher.create(b.spec(networks=["one", "nowhere"]))


async def test_an_ended_container_is_kept_unless_it_is_to_be_removed(bench):
    async with bench() as b:
        for remove in (True, False):
            handle = await b.started(b.spec(auto_remove=remove))
            await b.ended(handle)
            await b.launcher.discard(handle)
            assert len(b.containers()) == (0 if remove else 1)


async def test_what_nobody_removed_is_swept_after_an_hour_unless_it_is_to_be_kept(bench, dockerd):
    async with bench() as b:
        handles = [await b.started(b.spec(auto_remove=remove)) for remove in (True, False)]
        left, kept = [handle.pid.rpartition(":")[2] for handle in handles]
        for container in (left, kept):
            dockerd.docker("wait", container)
        await b.agent(clock=HurriedClock(3000))  # the first one is gone, and nobody watches them
        handle = await b.started(b.spec("import time; time.sleep(60)"))
        async with anyio.create_task_group() as group:
            group.start_soon(b.launcher.ended, handle)
            with anyio.fail_after(60):
                while left in (there := dockerd.docker("ps", "-aq", "--no-trunc")):
                    await anyio.sleep(0.1)
            group.cancel_scope.cancel()
        assert kept in there
        assert handle.pid.rpartition(":")[2] in there


async def test_stopping_kills_after_the_grace(bench):
    async with bench() as b:
        code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(300)"
        handle = await b.started(b.spec(code))
        await anyio.sleep(0.5)
        with anyio.fail_after(30):
            await b.launcher.stop(handle, 1)
            ended = await b.ended(handle)
        assert ended.exit_code == 137
        await b.launcher.stop(handle, 1)
        await b.launcher.discard(handle)
        await b.launcher.stop(handle, 1)


async def test_a_pid_names_the_engine(bench):
    async with bench() as b:
        handle = await b.launcher.create(b.spec())
        assert handle.pid.startswith("http+docker://localhost:")
        assert b.launcher.owns(handle.pid)
        assert not b.launcher.owns("http://elsewhere:2375:" + "0" * 64)
        assert b.launcher.host_bound


async def test_preflight_tells_what_is_wrong(bench):
    async with bench() as b:
        check = b.launcher.preflight
        assert await check(DockerContainerSettings(), "https://prefect.example.com/api") == ()
        wrong = DockerContainerSettings(
            image="an image",
            networks=["nowhere"],
            env={"PREFECT_API_URL": "http://localhost:4200/api"},
        )
        told = await check(wrong, "https://prefect.example.com/api")
        assert len(told) == 3
        assert "an image" in told[0]
        assert "localhost" in told[1]
        assert "nowhere" in told[2]


async def test_without_an_engine_a_launch_is_refused_and_preflight_says_so(bench, tmp_path):
    async with bench() as b:
        await b.agent(f"unix://{tmp_path}/no.sock")
        with pytest.raises(NotStarted, match="Docker engine can't be reached"):
            await b.launcher.create(b.spec())
        with pytest.raises(Transient):
            await b.found(b.spec())
        (told,) = await b.launcher.preflight(DockerContainerSettings(), "https://x.example/api")
        assert "can't be reached" in told


async def test_a_handle_of_a_container_that_is_gone_is_an_end(bench):
    async with bench() as b:
        gone = Handle(
            "44444444-4444-8444-8444-444444444444", "run", "http+docker://localhost:" + "0" * 64
        )
        assert "removed" in (await b.ended(gone)).reason
        with pytest.raises(NotLaunchable, match="gone"):
            await b.launcher.start(gone)
