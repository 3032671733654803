"""Tasks of ECS: running, finding, describing and stopping them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.infrastructure.base import NotStarted
from reconciler.infrastructure.ecs.client import Account
from reconciler.infrastructure.ecs.failures import Refusal
from reconciler.infrastructure.ecs.reasons import refused

Task = Mapping[str, Any]

BATCH = 100
"""Tasks that one DescribeTasks takes."""
_GONE = ("not find task", "not found", "no registered tasks")
"""ECS's words for a task that is not there (facts)."""
_INACTIVE = ("inactive", "unable to describe task definition", "taskdefinition not found")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task is.

    Attributes:
        account: the credentials and the region.
        cluster: as configured, or its ARN; None for the account's default cluster.
        arn: of the task.
    """

    account: Account
    cluster: str | None
    arn: str


async def run(account: Account, request: Mapping[str, Any]) -> tuple[str, str]:
    """Run a task, once for each client token; return its ARN and its cluster's.

    Raises:
        NotStarted: there is no room for it.
        NotLaunchable: the request is refused.
        Transient: nobody knows whether it runs.
    """
    try:
        answer = await account.write("ecs:run_task", **request)
    except Refusal as error:
        # Asked again after something of the request changed, say a label. It runs already.
        if error.code == "ConflictException" and error.tasks:
            return error.tasks[0], cluster_arn(error.tasks[0])
        raise
    if not answer.get("tasks"):
        raise NotStarted(refused(answer.get("failures", ())))
    task = answer["tasks"][0]
    return task["taskArn"], task.get("clusterArn") or cluster_arn(task["taskArn"])


def definition_gone(error: Refusal) -> bool:
    """Tell whether a task was refused since its definition was deregistered."""
    words = error.message.lower()
    return any(one in words for one in _INACTIVE)


async def find(account: Account, cluster: str | None, token: str) -> Task | None:
    """Return the task that was started under a token; of those that run and those that ended.

    Raises:
        NotLaunchable: the look-up is refused.
        Transient: ECS does not answer.
    """
    arns: list[str] = []
    for status in ("RUNNING", "STOPPED"):
        try:
            answer = await account.read(
                "ecs:list_tasks", startedBy=token, desiredStatus=status, **_in(cluster)
            )
        except Refusal as error:
            if error.code == "ClusterNotFoundException":
                return None
            raise
        arns.extend(answer.get("taskArns", ()))
    tasks = await describe(account, cluster, arns[:BATCH]) if arns else {}
    return next(iter(sorted(tasks.values(), key=_ended)), None)


async def describe(account: Account, cluster: str | None, arns: Sequence[str]) -> dict[str, Task]:
    """Return the tasks that ECS knows, by ARN, of up to 100.

    Raises:
        NotLaunchable: the look-up is refused.
        Transient: ECS does not answer.
    """
    try:
        answer = await account.read("ecs:describe_tasks", tasks=list(arns), **_in(cluster))
    except Refusal as error:
        if error.code == "ClusterNotFoundException":
            return {}
        raise
    return {task["taskArn"]: task for task in answer.get("tasks", ())}


async def stop(place: Place, reason: str) -> bool:
    """Tell a task to stop; False if it isn't there any more.

    Raises:
        NotLaunchable: ECS refuses.
        Transient: ECS does not answer.
    """
    try:
        await place.account.write(
            "ecs:stop_task", task=place.arn, reason=reason, **_in(place.cluster)
        )
    except Refusal as error:
        words = error.message.lower()
        if error.code == "ClusterNotFoundException" or any(one in words for one in _GONE):
            return False
        raise
    return True


def stopped(task: Task) -> bool:
    """Tell whether a task has ended, with all of its containers."""
    return bool(task.get("lastStatus") == "STOPPED")


def past_start(task: Task) -> bool:
    """Tell whether a task that has not ended runs, or did: what comes late is its end."""
    return task.get("lastStatus") not in {None, "PROVISIONING", "PENDING", "ACTIVATING", "STOPPED"}


def cluster_arn(task_arn: str) -> str:
    """Return the ARN of a task's cluster, which is part of its own (the long format)."""
    head, _, rest = task_arn.partition(":task/")
    return f"{head}:cluster/{rest.partition('/')[0]}"


def _ended(task: Task) -> bool:
    return stopped(task)


def _in(cluster: str | None) -> dict[str, str]:
    return {} if cluster is None else {"cluster": cluster}
