"""The ECS launcher against AWS in memory: identity, ends, stops, definitions, faults."""

import random
import re
import sys

import anyio
import pytest

from reconciler.blocks.aws import AwsCredentialsSettings, EcsTaskSettings
from reconciler.errors import Transient, Unreachable
from reconciler.infrastructure.base import NotLaunchable, NotStarted, Surroundings
from reconciler.infrastructure.ecs import EcsLauncher
from reconciler.infrastructure.ecs.client import MISSING
from reconciler.model.launch import Handle, LaunchSpec, Sought
from tests.fakes.clock import VirtualClock
from tests.fakes.ecs_platform import Aws, error

pytestmark = pytest.mark.anyio
ROLE = "arn:aws:iam::123456789012:role/execution"
LOGS = {"execution_role_arn": ROLE, "stream_output": True}


class EndpointConnectionError(Exception):
    """As botocore's, which wants more arguments."""


class ReadTimeoutError(Exception):
    """As botocore's."""


def token_of(number):
    return f"11111111-1111-8111-8111-{number:012d}"


class Bench:
    def __init__(self, folder):
        self.aws, self.clock, self.lines = Aws(), VirtualClock(), []
        self.folder = folder
        self.surroundings = Surroundings(
            state_dir=folder,
            host_dir=folder,
            inherited=dict,
            python="python",
            clock=self.clock,
            output=lambda run_id, line: self.lines.append((run_id, line)),
            images="prefecthq/prefect:3.8.8-python3.11",
        )
        self.launcher = self.again()

    def again(self):
        """Return a launcher as the next agent has it."""
        return EcsLauncher(self.surroundings, self.aws.connect)

    def spec(self, number=1, env=None, labels=None, **settings):
        return LaunchSpec(
            token=token_of(number),
            flow_run_id=f"run-{number}",
            name=f"name-{number}",
            type="ecs-task",
            settings=EcsTaskSettings(**settings),
            env={"PREFECT_API_KEY": "pnu_secret", **(env or {})},
            labels=labels or {"prefect.io/flow-name": "f", "prefect.io/deployment-name": "d"},
        )

    def sought(self, number=1, pid=None, **settings):
        return Sought(token_of(number), f"run-{number}", pid, EcsTaskSettings(**settings))

    async def launch(self, number=1, **settings):
        handle = await self.launcher.create(self.spec(number, **settings))
        return await self.launcher.start(handle)

    def task(self, handle):
        return self.aws.task(handle.pid)

    async def look(self, seconds=5.0):
        self.clock.advance(seconds)
        return await self.launcher._watcher.look()

    async def end_of(self, handle, launcher=None):
        with anyio.fail_after(20):
            return await (launcher or self.launcher).ended(handle)

    async def watching(self, handle):
        """Have the watcher know a task, as a waiting `ended` does; that wait may be cancelled."""
        watcher = self.launcher._watcher
        async with anyio.create_task_group() as group:
            group.start_soon(self.launcher.ended, handle)
            with anyio.fail_after(20):
                while watcher.over(handle.token) and not watcher.told(handle.token):
                    await anyio.sleep(0.001)
            group.cancel_scope.cancel()


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


# -- the token is the identity


async def test_create_starts_nothing_and_has_no_pid(bench):
    handle = await bench.launcher.create(bench.spec())
    assert handle.pid is None
    assert bench.aws.tasks == {}
    assert len(bench.aws.active) == 1


async def test_start_gives_the_pid_with_the_cluster_as_configured(bench):
    named = await bench.launch(1, cluster="work")
    default = await bench.launch(2)
    [first, second] = bench.aws.tasks
    assert named.pid == f"work::{first}"
    assert default.pid == f"arn:aws:ecs:eu-west-1:123456789012:cluster/default::{second}"
    assert bench.launcher.owns(named.pid)
    assert not bench.launcher.owns("host:12")


async def test_the_task_carries_the_token(bench):
    task = bench.task(await bench.launch())
    assert task["startedBy"] == token_of(1)
    assert {"key": "reconciler.launch-token", "value": token_of(1)} in task["tags"]


async def test_without_a_task_a_launch_was_never_started(bench):
    found = await bench.launcher.find(bench.sought())
    assert (found.handle.pid, found.started, found.alive) == (None, False, False)
    await bench.launcher.create(bench.spec())
    found = await bench.again().find(bench.sought())
    assert (found.started, found.alive) == (False, False)


@pytest.mark.parametrize("status", ["PROVISIONING", "RUNNING", "STOPPED"])
@pytest.mark.parametrize("cluster", [None, "work"])
async def test_the_next_agent_finds_a_task_by_its_token_alone(bench, status, cluster):
    handle = await bench.launch(cluster=cluster)
    task = bench.task(handle)
    if status == "RUNNING":
        bench.aws.set_running(task)
    if status == "STOPPED":
        bench.aws.set_ended(task)
    found = await bench.again().find(bench.sought(cluster=cluster))
    assert found.handle == handle
    assert (found.started, found.alive) == (True, status != "STOPPED")


async def test_a_task_is_found_by_its_pid_though_its_block_is_gone_or_moved(bench):
    handle = await bench.launch(cluster="work")
    gone = Sought(token_of(1), "run-1", handle.pid, None)
    assert (await bench.again().find(gone)).alive
    assert (await bench.again().find(bench.sought(pid=handle.pid, cluster="default"))).alive
    assert await bench.again().find(Sought(token_of(1), "run-1")) is None


async def test_a_pid_of_an_earlier_attempt_is_not_the_launch(bench):
    earlier = await bench.launch(1)
    found = await bench.launcher.find(bench.sought(2, pid=earlier.pid))
    assert (found.started, found.handle.pid) == (False, None)


async def test_a_second_start_never_starts_twice(bench):
    handle = await bench.launcher.create(bench.spec())
    first = await bench.launcher.start(handle)
    assert await bench.launcher.start(handle) == first
    assert bench.aws.counts["run_task"] == 1
    other = bench.again()
    assert await other.start(await other.create(bench.spec())) == first
    assert len(bench.aws.tasks) == 1


async def test_a_start_with_other_labels_takes_the_task_over_that_runs(bench):
    first = await bench.launch()
    other = bench.again()
    changed = bench.spec(labels={"prefect.io/deployment-updated": "later"}, family="prefect__f__d")
    assert await other.start(await other.create(changed)) == first
    assert len(bench.aws.tasks) == 1


async def test_two_agents_that_race_start_one_task(bench):
    one, other = bench.launcher, bench.again()
    handles = [await one.create(bench.spec()), await other.create(bench.spec())]
    pids = []
    async with anyio.create_task_group() as group:
        for launcher, handle in zip((one, other), handles, strict=True):

            async def start(launcher=launcher, handle=handle):
                pids.append((await launcher.start(handle)).pid)

            group.start_soon(start)
    assert len(set(pids)) == len(bench.aws.tasks) == 1


async def test_a_lost_answer_to_start_is_found_and_never_repeated(bench):
    handle = await bench.launcher.create(bench.spec())
    bench.aws.after["run_task"].append(ReadTimeoutError())
    with pytest.raises(Transient):
        await bench.launcher.start(handle)
    found = await bench.again().find(bench.sought())
    assert (found.started, found.alive) == (True, True)
    again = await bench.launcher.start(handle)
    assert again == found.handle
    assert len(bench.aws.tasks) == 1


async def test_a_start_that_list_does_not_show_yet_is_not_started_twice(bench):
    first = await bench.launch()
    bench.aws.list_lags = True
    other = bench.again()
    assert not (await other.find(bench.sought())).started
    assert await other.start(await other.create(bench.spec())) == first


async def test_only_who_prepared_can_start(bench):
    with pytest.raises(NotLaunchable, match="agent that is gone"):
        await bench.launcher.start(Handle(token_of(1), "run-1", None))


# -- ends


async def test_the_exit_code_is_the_flows(bench):
    handle = await bench.launch()
    await bench.watching(handle)
    bench.aws.set_running(bench.task(handle))
    await bench.look()
    bench.aws.set_ended(bench.task(handle), 3)
    await bench.look()
    ended = await bench.end_of(handle)
    assert (ended.exit_code, ended.reason) == (3, "the container ended with exit code 3")


async def test_a_task_that_passed_running_unseen_is_no_failed_start(bench):
    handle = await bench.launch()
    await bench.watching(handle)
    bench.aws.set_ended(bench.task(handle), 0)
    await bench.look(500)
    assert (await bench.end_of(handle)).exit_code == 0
    assert bench.aws.counts["stop_task"] == 0


async def test_the_next_agent_hears_of_an_end_that_nobody_saw(bench):
    handle = await bench.launch()
    bench.aws.set_ended(bench.task(handle), 7)
    bench.launcher = bench.again()
    found = await bench.launcher.find(bench.sought())
    await bench.watching(found.handle)
    await bench.look()
    assert (await bench.end_of(found.handle)).exit_code == 7


async def test_a_task_that_ecs_forgot_ended_unknown_but_not_at_once(bench):
    handle = await bench.launch()
    await bench.watching(handle)
    bench.aws.tasks.clear()
    await bench.look()
    assert not bench.launcher._watcher.over(token_of(1))
    await bench.look(61)
    ended = await bench.end_of(handle)
    assert ended.exit_code is None
    assert "does not know the task any more" in ended.reason


async def test_a_task_that_is_not_listed_for_a_moment_has_not_ended(bench):
    handle = await bench.launch()
    await bench.watching(handle)
    task = bench.aws.tasks.pop(handle.pid.rpartition("::")[2])
    await bench.look(5)
    await bench.look(50)
    bench.aws.tasks[task["taskArn"]] = task
    await bench.look(30)
    bench.aws.tasks.pop(task["taskArn"])
    await bench.look(59)
    assert not bench.launcher._watcher.over(token_of(1))


async def test_a_start_time_out_stops_what_it_started(bench):
    handle = await bench.launch(task_start_timeout_seconds=60)
    await bench.watching(handle)
    await bench.look(59)
    assert bench.aws.counts["stop_task"] == 0
    bench.task(handle)["lastStatus"] = "PENDING"
    await bench.look(2)
    assert bench.task(handle)["lastStatus"] == "STOPPED"
    await bench.look()
    ended = await bench.end_of(handle)
    assert ended.exit_code is None
    assert "did not start within 60 s" in ended.reason
    assert "it was PENDING" in ended.reason


async def test_a_late_task_that_failed_meanwhile_says_both(bench):
    handle = await bench.launch()
    await bench.watching(handle)
    bench.aws.stubborn = True
    await bench.look(121)
    words = "CannotPullContainerError: no such image"
    bench.aws.set_ended(bench.task(handle), None, words, stopCode="TaskFailedToStart")
    await bench.look()
    reason = (await bench.end_of(handle)).reason
    assert "did not start within 120 s" in reason
    assert reason.endswith("the image can't be pulled: no such image")


async def test_a_late_task_that_does_not_stop_is_given_up(bench):
    bench.aws.stubborn = True
    handle = await bench.launch()
    await bench.watching(handle)
    await bench.look(121)
    await bench.look(200)
    assert not bench.launcher._watcher.over(token_of(1))
    await bench.look(101)
    assert "has not gone yet" in (await bench.end_of(handle)).reason
    assert bench.aws.counts["stop_task"] == 1


async def test_a_late_task_that_can_not_be_stopped_holds_up_no_other(bench):
    late, other = await bench.launch(1), await bench.launch(2)
    await bench.watching(late)
    await bench.watching(other)
    bench.aws.before["stop_task"].append(error("ThrottlingException", "Rate exceeded"))
    bench.aws.set_ended(bench.task(other), 0)
    await bench.look(121)
    assert (await bench.end_of(other)).exit_code == 0
    assert not bench.launcher._watcher.over(late.token)
    bench.aws.denied.add("stop_task")
    for _ in range(4):
        await bench.look(121)
    reason = (await bench.end_of(late)).reason
    assert "ECS did not let it be stopped: ecs:StopTask: User" in reason


async def test_a_task_that_runs_is_not_late(bench):
    handle = await bench.launch()
    await bench.watching(handle)
    bench.aws.set_running(bench.task(handle))
    await bench.look(500)
    await bench.look(500)
    assert bench.aws.counts["stop_task"] == 0


async def test_what_was_never_started_has_no_end_to_wait_for(bench):
    handle = await bench.launcher.create(bench.spec())
    assert (await bench.end_of(handle)).reason == "the task was never started"


async def test_what_is_no_task_can_not_be_waited_for(bench):
    with pytest.raises(NotLaunchable, match="not that of an ECS task"):
        await bench.launcher.ended(Handle(token_of(1), "run-1", "host:12"))


# -- stops


async def test_stop_returns_when_the_task_is_gone_and_the_end_is_known(bench):
    handle = await bench.launch()
    bench.aws.set_running(bench.task(handle))
    await bench.launcher.stop(handle, 30)
    assert bench.task(handle)["lastStatus"] == "STOPPED"
    ended = await bench.end_of(handle)
    assert ended.exit_code == 143
    assert "somebody stopped the task (Stopped by the agent" in ended.reason


async def test_what_is_gone_already_is_fine_to_stop(bench):
    handle = await bench.launch(cluster="work")
    bench.aws.tasks.clear()
    await bench.launcher.stop(handle, 0)
    del bench.aws.clusters["work"]
    await bench.launcher.stop(handle, 0)


async def test_what_was_never_started_is_fine_to_stop_and_stays_known_so(bench):
    handle = await bench.launcher.create(bench.spec())
    await bench.launcher.stop(handle, 0)
    await bench.launcher.discard(handle)
    assert bench.aws.tasks == {}
    assert not (await bench.launcher.find(bench.sought())).started


async def test_a_start_whose_answer_was_lost_can_be_stopped_without_a_pid(bench):
    handle = await bench.launcher.create(bench.spec())
    bench.aws.after["run_task"].append(ReadTimeoutError())
    with pytest.raises(Transient):
        await bench.launcher.start(handle)
    await bench.launcher.stop(handle, 0)
    [task] = bench.aws.tasks.values()
    assert task["lastStatus"] == "STOPPED"


async def test_a_task_that_does_not_stop_is_said_so(bench):
    bench.aws.stubborn = True
    handle = await bench.launch()
    bench.aws.set_running(bench.task(handle))
    with pytest.raises(Transient, match="has not stopped yet"):
        await bench.launcher.stop(handle, 10)


async def test_an_ended_task_is_not_stopped_again(bench):
    handle = await bench.launch()
    await bench.watching(handle)
    bench.aws.set_ended(bench.task(handle))
    await bench.look()
    await bench.launcher.stop(handle, 10)
    assert bench.aws.counts["stop_task"] == 0


async def test_discard_forgets_the_launch_and_keeps_the_definition(bench):
    handle = await bench.launch()
    await bench.watching(handle)
    bench.aws.set_ended(bench.task(handle))
    await bench.look()
    await bench.launcher.discard(handle)
    assert not bench.launcher._prepared
    assert not bench.launcher._settings
    assert len(bench.aws.active) == 1


# -- definitions


async def test_many_runs_cost_one_registration(bench):
    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(bench.launcher.create, bench.spec(number, **LOGS))
    assert bench.aws.counts["register_task_definition"] == 1
    assert bench.aws.counts["describe_vpcs"] == 1


async def test_the_next_agent_takes_the_definition_over(bench):
    env = [{"name": "B", "value": "1"}, {"name": "A", "value": "2"}]
    containers = [{"name": "prefect", "environment": env}]
    definition = {"task_definition": {"containerDefinitions": containers}}
    await bench.launcher.create(bench.spec(1, **definition))
    bench.launcher = bench.again()
    await bench.launcher.create(bench.spec(2, **definition))
    assert bench.aws.counts["register_task_definition"] == 1


async def test_a_refusal_to_tell_a_definition_is_no_lack_of_one(bench):
    bench.aws.denied.add("describe_task_definition")
    with pytest.raises(NotStarted, match="DescribeTaskDefinition"):
        await bench.launcher.create(bench.spec())
    assert bench.aws.active == []


async def test_in_a_cluster_that_is_gone_nothing_was_started(bench):
    bench.aws.clusters.clear()
    found = await bench.launcher.find(bench.sought())
    assert (found.started, found.alive) == (False, False)


async def test_another_content_is_another_revision(bench):
    await bench.launcher.create(bench.spec(1))
    await bench.launcher.create(bench.spec(2, cpu=256, memory=512))
    await bench.launcher.create(bench.spec(3))
    assert [one["revision"] for one in bench.aws.active] == [1, 2]


async def test_a_registered_definition_is_used_as_it_is(bench):
    await bench.launcher.create(bench.spec(1))
    [theirs] = bench.aws.active
    bench.launcher = bench.again()
    handle = await bench.launch(2, task_definition_arn=theirs["taskDefinitionArn"])
    assert bench.task(handle)["taskDefinitionArn"] == theirs["taskDefinitionArn"]
    assert bench.aws.counts["register_task_definition"] == 1


async def test_a_registered_definition_is_copied_where_the_block_changes_it(bench):
    await bench.launcher.create(bench.spec(1))
    [theirs] = bench.aws.active
    handle = await bench.launch(2, task_definition_arn=theirs["taskDefinitionArn"], image="own:1")
    other = bench.task(handle)["taskDefinitionArn"]
    assert other != theirs["taskDefinitionArn"]
    assert bench.aws.active[-1]["containerDefinitions"][0]["image"] == "own:1"


async def test_a_definition_that_is_gone_is_registered_anew_at_the_start(bench):
    handle = await bench.launcher.create(bench.spec())
    bench.aws.active[0]["status"] = "INACTIVE"
    await bench.launcher.start(handle)
    assert bench.aws.counts["register_task_definition"] == 2
    assert len(bench.aws.tasks) == 1


async def test_an_unused_definition_of_ours_is_deregistered_after_two_days(bench):
    handle = await bench.launch()
    bench.clock.advance(50 * 3600)
    await bench.launcher._definitions.sweep()
    assert len(bench.aws.active) == 1  # a run uses it
    await bench.launcher.discard(handle)
    bench.clock.advance(47 * 3600)
    await bench.launcher._definitions.sweep()
    assert len(bench.aws.active) == 1
    bench.clock.advance(2 * 3600)
    await bench.launcher._definitions.sweep()
    assert bench.aws.active == []
    await bench.launcher.create(bench.spec(2))
    assert len(bench.aws.active) == 1


async def test_a_definition_that_is_to_be_kept_or_is_not_ours_stays(bench):
    kept = bench.spec(1, auto_deregister_task_definition=False)
    await bench.launcher.discard(await bench.launcher.create(kept))
    theirs = {"family": "theirs", "containerDefinitions": [{"name": "prefect", "image": "i:1"}]}
    bench.aws._register_task_definition(**theirs, cpu="1024", memory="2048", networkMode="awsvpc")
    bench.aws.families["theirs"][0]["requiresCompatibilities"] = ["FARGATE"]
    used = bench.spec(2, family="theirs", image="i:1")
    await bench.launcher.discard(await bench.launcher.create(used))
    assert bench.aws.counts["register_task_definition"] == 1
    bench.clock.advance(100 * 3600)
    await bench.launcher._definitions.sweep()
    assert len(bench.aws.active) == 2


async def test_a_definition_in_use_under_other_credentials_stays(bench):
    other = AwsCredentialsSettings(aws_access_key_id="id")
    await bench.launcher.discard(await bench.launcher.create(bench.spec(1)))
    await bench.launcher.create(bench.spec(2, aws_credentials=other))
    bench.clock.advance(100 * 3600)
    await bench.launcher._definitions.sweep()
    assert len(bench.aws.active) == 1


async def test_credentials_that_are_renewed_do_not_pile_up(bench):
    for number in range(40):
        block = AwsCredentialsSettings(aws_access_key_id=f"id-{number}")
        await bench.launcher.find(bench.sought(number, aws_credentials=block))
    assert len(bench.launcher._accounts._accounts) == 32


# -- refusals


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"cluster": "none"}, NotLaunchable, "ClusterNotFoundException"),
        ({"vpc_id": "vpc-9"}, NotLaunchable, "vpc-9"),
        ({"task_definition_arn": "none:1"}, NotLaunchable, "Unable to describe"),
        ({"stream_output": True}, NotLaunchable, "execution_role_arn"),
    ],
)
async def test_what_is_declared_wrongly_is_named(bench, settings, kind, words):
    with pytest.raises(kind, match=words) as told:
        await bench.launch(**settings)
    assert not isinstance(told.value, NotStarted)
    assert bench.aws.tasks == {}


async def test_an_account_without_a_default_vpc_is_told_to_name_one(bench):
    bench.aws.vpcs["vpc-1"]["default"] = False
    with pytest.raises(NotLaunchable, match="no default VPC in eu-west-1: set vpc_id"):
        await bench.launcher.create(bench.spec(1))
    await bench.launcher.create(bench.spec(2, vpc_id="vpc-1"))
    bench.aws.vpcs["vpc-1"]["subnets"] = []
    bench.launcher = bench.again()
    with pytest.raises(NotLaunchable, match="no subnets"):
        await bench.launcher.create(bench.spec(2, vpc_id="vpc-1"))
    path = "/networkConfiguration/awsvpcConfiguration/subnets"
    patch = [{"op": "add", "path": path, "value": ["subnet-x"]}]
    await bench.launch(3, task_customizations=patch)
    [sent] = bench.aws.arguments("run_task")
    assert sent["networkConfiguration"]["awsvpcConfiguration"]["subnets"] == ["subnet-x"]


async def test_no_room_is_a_crash_with_the_words_of_ecs(bench):
    bench.aws.no_room = [{"arn": "a", "reason": "RESOURCE:MEMORY"}]
    with pytest.raises(NotStarted, match="no container instance has enough memory"):
        await bench.launch()


@pytest.mark.parametrize("operation", ["register_task_definition", "run_task"])
async def test_no_permission_is_a_crash_that_names_the_operation(bench, operation):
    bench.aws.denied.add(operation)
    with pytest.raises(
        NotStarted, match=r"ecs:(RegisterTaskDefinition|RunTask): User .* permissions"
    ):
        await bench.launch()


@pytest.mark.parametrize("code", ["ThrottlingException", "ServerException"])
@pytest.mark.parametrize("operation", ["register_task_definition", "run_task"])
async def test_a_busy_aws_leaves_the_run_claimed(bench, operation, code):
    bench.aws.before[operation].append(error(code, "Rate exceeded"))
    with pytest.raises(Transient):
        await bench.launch()
    await bench.launch()
    assert len(bench.aws.tasks) == 1


async def test_agents_that_register_at_one_time_wait_for_each_other(bench):
    words = "Too many concurrent attempts to create a new revision of the specified family."
    bench.aws.before["register_task_definition"].append(error("ClientException", words))
    with pytest.raises(Transient):
        await bench.launch()


async def test_an_unreachable_aws_starts_nothing(bench):
    bench.aws.before["register_task_definition"].append(EndpointConnectionError())
    with pytest.raises(NotStarted, match="can't be reached"):
        await bench.launcher.create(bench.spec())
    bench.aws.before["list_tasks"].append(EndpointConnectionError())
    with pytest.raises(Unreachable):
        await bench.launcher.find(bench.sought())


async def test_without_permission_to_look_nothing_is_claimed_to_be_known(bench):
    handle = await bench.launch()
    bench.aws.denied.update({"list_tasks", "describe_tasks"})
    assert await bench.launcher.find(bench.sought()) is None
    with pytest.raises(Transient):
        await bench.launcher.find(bench.sought(pid=handle.pid))


async def test_a_request_that_botocore_refuses_shows_no_values(bench):
    patch = [{"op": "add", "path": "/overrides/containerOverrides/0/environment", "value": "pnu_x"}]
    with pytest.raises(NotLaunchable, match="containerOverrides") as told:
        await bench.launch(task_customizations=patch)
    assert "pnu_x" not in str(told.value)


async def test_credentials_that_differ_never_share_a_client(bench):
    for number, secret in enumerate(("one", "two", "one")):
        block = AwsCredentialsSettings(aws_access_key_id="id", aws_secret_access_key=secret)
        await bench.launcher.create(bench.spec(number, aws_credentials=block))
    assert len(bench.aws.connected) == 2
    keys = " ".join(bench.launcher._accounts._accounts)
    assert "one" not in keys


# -- the watcher


async def test_calls_do_not_grow_with_runs(bench):
    for number in range(150):
        handle = await bench.launch(number)
        bench.aws.set_running(bench.task(handle))
        bench.launcher._watcher.add(await bench.launcher._watched(handle))
    bench.aws.calls.clear()
    await bench.look()
    assert dict(bench.aws.counts) == {"describe_tasks": 2}
    assert sorted(len(one["tasks"]) for one in bench.aws.arguments("describe_tasks")) == [50, 100]


async def test_throttling_holds_back_all_runs_of_the_account_together(bench):
    for number in range(150):
        handle = await bench.launch(number)
        bench.launcher._watcher.add(await bench.launcher._watched(handle))
    bench.aws.calls.clear()
    bench.aws.before["describe_tasks"].append(error("ThrottlingException", "Rate exceeded"))
    await bench.look()
    assert bench.aws.counts["describe_tasks"] == 1
    await bench.look(1)
    assert bench.aws.counts["describe_tasks"] == 1
    await bench.look(10)
    assert bench.aws.counts["describe_tasks"] == 3


async def test_the_back_off_grows_while_aws_stays_busy(bench):
    handle = await bench.launch()
    await bench.watching(handle)
    bench.aws.calls.clear()
    busy = error("ThrottlingException", "Rate exceeded")
    bench.aws.before["describe_tasks"].extend([busy] * 20)
    for _ in range(100):
        await bench.look(5)
    assert 5 <= bench.aws.counts["describe_tasks"] <= 14


async def test_the_back_off_starts_anew_when_aws_has_answered(bench):
    handle = await bench.launch()
    await bench.watching(handle)
    busy = error("ThrottlingException", "Rate exceeded")
    bench.aws.before["describe_tasks"].extend([busy] * 8)
    while bench.aws.before["describe_tasks"]:
        await bench.look(121)
    await bench.look(121)
    bench.aws.before["describe_tasks"].append(busy)
    await bench.look()
    before = bench.aws.counts["describe_tasks"]
    await bench.look(5)
    assert bench.aws.counts["describe_tasks"] == before + 1


async def test_one_accounts_trouble_is_not_the_others(bench):
    mine = await bench.launch(1)
    other = AwsCredentialsSettings(aws_access_key_id="id")
    theirs = await bench.launch(2, aws_credentials=other)
    await bench.watching(mine)
    await bench.watching(theirs)
    bench.aws.set_ended(bench.task(theirs), 0)
    bench.aws.before["describe_tasks"].append(error("ExpiredTokenException", "expired"))
    [problem] = await bench.look()
    assert "expired" in problem.message
    assert (await bench.end_of(theirs)).exit_code == 0


async def test_watch_serves_until_it_is_cancelled(bench):
    handle = await bench.launch()
    bench.aws.set_running(bench.task(handle))
    async with anyio.create_task_group() as group:
        group.start_soon(bench.launcher.watch)
        await bench.watching(handle)
        bench.aws.set_ended(bench.task(handle), 5)
        assert (await bench.end_of(handle)).exit_code == 5
        group.cancel_scope.cancel()
    assert not bench.launcher._watcher.running


async def test_a_watch_that_aws_forbids_says_so(bench):
    handle = await bench.launch()
    await bench.watching(handle)
    bench.aws.denied.add("describe_tasks")
    with pytest.raises(NotStarted, match="DescribeTasks"), anyio.fail_after(20):
        await bench.launcher.watch()


# -- output


async def test_output_is_streamed_in_order_and_once(bench):
    handle = await bench.launch(**LOGS)
    task = bench.task(handle)
    await bench.watching(handle)
    await bench.look()
    bench.aws.set_running(task)
    await bench.look()  # the stream is not there yet
    for lines in (["a", "b", "c", "d"], [], ["e"], ["f"] * 7):
        bench.aws.log(task, *lines)
        await bench.look()
    bench.aws.log(task, "last")
    bench.aws.set_ended(task)
    await bench.look()
    text = ["a", "b", "c", "d", "e", *["f"] * 7, "last"]
    assert bench.lines == [("run-1", line) for line in text]
    assert (await bench.end_of(handle)).last_lines == tuple(text[-10:])
    assert await bench.launcher.logs(Sought("none", "run-1"), 2) == ("f", "last")


async def test_the_logs_of_many_runs_are_read_in_one_call(bench):
    for number in range(10):
        handle = await bench.launch(number, **LOGS)
        bench.aws.set_running(bench.task(handle))
        if number != 7:  # its stream comes late
            bench.aws.log(bench.task(handle), f"line {number}")
        bench.launcher._watcher.add(await bench.launcher._watched(handle))
    await bench.look()
    assert sorted(bench.lines) == [(f"run-{n}", f"line {n}") for n in range(10) if n != 7]
    bench.aws.log(bench.task(await bench.launcher.start(Handle(token_of(7), "run-7", None))), "x")
    await bench.look()
    bench.aws.calls.clear()
    await bench.look()
    assert bench.aws.counts["filter_log_events"] <= 4  # pages of three lines
    assert bench.aws.counts["describe_task_definition"] == 0
    assert len(bench.lines) == 10


async def test_a_silent_run_has_the_others_lines_read_again_but_not_shown(bench):
    loud, silent = await bench.launch(1, **LOGS), await bench.launch(2, **LOGS)
    for handle in (loud, silent):
        bench.aws.set_running(bench.task(handle))
        bench.aws.log(bench.task(handle))
        await bench.watching(handle)
    for line in ("a", "b", "c"):
        bench.aws.log(bench.task(loud), line)
        await bench.look()
    bench.aws.log(bench.task(silent), "late", at=1001)
    await bench.look()
    await bench.look()
    assert bench.lines == [("run-1", "a"), ("run-1", "b"), ("run-1", "c"), ("run-2", "late")]


async def test_a_loud_run_beside_a_silent_one_gets_on(bench):
    loud, silent = await bench.launch(1, **LOGS), await bench.launch(2, **LOGS)
    for handle in (loud, silent):
        bench.aws.set_running(bench.task(handle))
        bench.aws.log(bench.task(handle))
        await bench.watching(handle)
    said = [f"line {number}" for number in range(200)]
    bench.aws.log(bench.task(loud), *said)
    for _ in range(5):  # a look reads 20 pages of three lines
        await bench.look()
    assert bench.lines == [("run-1", line) for line in said]


async def test_a_log_that_may_not_be_read_spoils_no_watch(bench):
    handle = await bench.launch(**LOGS)
    await bench.watching(handle)
    bench.aws.denied.update({"filter_log_events", "get_log_events"})
    bench.aws.set_ended(bench.task(handle), 4)
    await bench.look()
    assert (await bench.end_of(handle)).exit_code == 4


async def test_an_unstreamed_log_is_kept_as_far_as_it_is_told(bench):
    logs = {"execution_role_arn": ROLE, "configure_cloudwatch_logs": True}
    handle = await bench.launch(**logs)
    bench.aws.set_running(bench.task(handle))
    await bench.watching(handle)
    bench.aws.log(bench.task(handle), *(f"line {n}" for n in range(12)))
    assert await bench.launcher.logs(Sought("none", "run-1"), 1) == ("line 11",)
    bench.aws.set_ended(bench.task(handle))
    await bench.look()
    ended = await bench.end_of(handle)
    assert ended.last_lines == tuple(f"line {n}" for n in range(2, 12))
    assert bench.lines == []
    assert await bench.launcher.logs(Sought("none", "run-1"), 2) == ("line 10", "line 11")


async def test_the_next_agent_streams_on_where_the_last_stopped(bench):
    handle = await bench.launch(**LOGS)
    task = bench.task(handle)
    bench.aws.set_running(task)
    await bench.watching(handle)
    bench.aws.log(task, "old")
    await bench.look()
    bench.launcher = bench.again()
    await bench.launcher.find(bench.sought(pid=handle.pid, **LOGS))
    await bench.watching(handle)
    await bench.look()
    assert bench.lines == [("run-1", "old")]


async def test_a_log_that_is_not_there_is_empty(bench):
    logs = {"execution_role_arn": ROLE, "configure_cloudwatch_logs": True}
    handle = await bench.launch(**logs)
    await bench.watching(handle)
    assert await bench.launcher.logs(Sought("none", "run-1"), 5) == ()
    bench.aws.denied.add("get_log_events")
    assert await bench.launcher.logs(Sought("none", "run-1"), 5) == ()
    plain = await bench.launch(2)
    await bench.watching(plain)
    assert await bench.launcher.logs(Sought("none", "run-2"), 5) == ()


# -- before a launch


async def test_preflight_of_what_works_is_silent(bench):
    settings = EcsTaskSettings(cluster="work", **LOGS)
    assert await bench.launcher.preflight(settings, "https://prefect.example/api") == ()


@pytest.mark.parametrize(
    ("settings", "api_url", "words"),
    [
        ({}, "http://localhost:4200/api", "can't reach the Prefect API"),
        ({}, "http://127.0.0.1:4200/api", "can't reach the Prefect API"),
        ({"image": "an image"}, "", "no reference of a container image"),
        ({"image": "Upper:1"}, "", "no reference of a container image"),
        ({"cluster": "none"}, "", "cluster none does not exist in eu-west-1"),
        ({"cluster": "old"}, "", "cluster old is INACTIVE"),
        ({"vpc_id": "vpc-9"}, "", "vpc-9"),
        ({"stream_output": True}, "", "execution_role_arn"),
        ({"task_definition_arn": "none:1"}, "", "Unable to describe"),
        (
            {"task_customizations": [{"op": "remove", "path": "/none"}]},
            "",
            r"task_customizations\[0\] \(remove /none\)",
        ),
    ],
)
async def test_preflight_names_what_is_wrong_once(bench, settings, api_url, words):
    bench.aws.clusters["old"] = "INACTIVE"
    url = api_url or "https://prefect.example/api"
    problems = await bench.launcher.preflight(EcsTaskSettings(**settings), url)
    assert len(problems) == 1
    assert re.search(words, problems[0])


@pytest.mark.parametrize(
    "image",
    [
        "prefect",
        "prefecthq/prefect:3-latest",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/flows:v1",
        "registry:5000/a_b/c.d@sha256:" + "a" * 64,
    ],
)
async def test_preflight_takes_every_form_of_image(bench, image):
    settings = EcsTaskSettings(image=image)
    assert await bench.launcher.preflight(settings, "https://prefect.example/api") == ()


async def test_preflight_says_that_credentials_are_refused(bench):
    bench.aws.before["describe_clusters"].append(error("ExpiredTokenException", "It expired."))
    problems = await bench.launcher.preflight(EcsTaskSettings(), "https://prefect.example/api")
    assert "\n".join(problems) == (
        "ecs:DescribeClusters: It expired. (ExpiredTokenException); "
        "check aws_credentials and their permissions"
    )


async def test_no_secret_is_shown_anywhere(bench):
    handle = await bench.launch()
    shown = repr((bench.launcher._prepared, handle, bench.surroundings))
    assert "pnu_secret" not in shown


async def test_preflight_says_that_the_extra_is_missing(bench, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    launcher = EcsLauncher(bench.surroundings)
    problems = await launcher.preflight(EcsTaskSettings(), "https://prefect.example/api")
    assert problems == (MISSING,)


# -- whatever fails, whenever it dies


async def live(bench, chance):
    """Take a launch to its end as the agent does; at each fault another agent goes on."""
    launcher = bench.again()
    found = await launcher.find(bench.sought())
    if found is not None and found.started:
        handle = found.handle
    else:
        handle = await launcher.create(bench.spec())
        if chance.random() < 0.3:
            raise Transient("the agent dies after create")
        handle = await launcher.start(handle)
    if chance.random() < 0.3:
        raise Transient("the agent dies before it records the pid")
    [task] = bench.aws.tasks.values()
    bench.aws.set_ended(task, 0)
    launcher._watcher.add(await launcher._watched(handle))
    while not launcher._watcher.over(handle.token):
        bench.clock.advance(130)
        await launcher._watcher.look()
    return await launcher.ended(handle)


@pytest.mark.parametrize("seed", range(20))
async def test_exactly_one_task_however_often_aws_fails_and_agents_die(bench, seed):
    chance = random.Random(seed)
    call, ended = bench.aws.call, None

    def faulty(service, method, values):
        if chance.random() < 0.3:
            bench.aws.before[method].append(error("ServerException", "oops", 500))
        elif chance.random() < 0.2:
            bench.aws.after[method].append(ReadTimeoutError())
        return call(service, method, values)

    bench.aws.call = faulty
    with anyio.fail_after(60):
        while ended is None:
            try:
                ended = await live(bench, chance)
            except Transient:
                bench.aws.before.clear()
                bench.aws.after.clear()
    assert ended.exit_code == 0
    assert len(bench.aws.tasks) == 1
