"""Why a task ended, or was not started, in words that a person can act on. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.infrastructure.ecs.definition import CONTAINER

_SIGNALLED = {
    137: "the flow was killed (exit code 137): out of memory, or stopped after its grace period",
    139: "the flow crashed in native code (exit code 139)",
    143: "the flow was asked to stop (exit code 143)",
}
_TROUBLES = {
    "CannotPullContainerError": "the image can't be pulled",
    "CannotPullImageManifestError": "the image can't be pulled",
    "CannotPullECRContainerError": "the image can't be pulled",
    "CannotStartContainerError": "the container can't be started",
    "CannotCreateContainerError": "the container can't be made",
    "ContainerRuntimeTimeoutError": "the container runtime did not answer in time",
    "ContainerRuntimeError": "the container runtime failed",
    "ResourceInitializationError": "the task's network, secrets or logs can't be set up",
    "OutOfMemoryError": "the flow ran out of memory: raise memory",
    "InternalError": "ECS failed",
    "TaskFailedToStart": "the task failed to start",
}
_CODES = {
    "SpotInterruption": "AWS took the Spot capacity back",
    "TerminationNotice": "AWS took the instance back",
    "InfrastructureHealth": "the machine that the task ran on failed",
    "ServiceSchedulerInitiated": "an ECS service stopped the task",
    "UserInitiated": "somebody stopped the task",
}
_ROOM = {
    "RESOURCE:MEMORY": "no container instance has enough memory left",
    "RESOURCE:CPU": "no container instance has enough CPU left",
    "RESOURCE:ENI": "no container instance has a network interface left",
    "RESOURCE:GPU": "no container instance has a GPU left",
    "RESOURCE:PORTS": "the port is taken on every container instance",
    "AGENT": "the agents of the container instances are not connected",
    "ATTRIBUTE": "no container instance has what the task definition needs",
    "LOCATION": "no container instance is in the wanted zone",
    "EMPTY CAPACITY PROVIDER": "the capacity provider has no container instances",
}

GONE = (
    "ECS does not know the task any more (it forgets an ended task after an hour); "
    "how it ended can't be known"
)


def exit_code(task: Mapping[str, Any]) -> int | None:
    """Return the exit code of the flow's container; None if it has none."""
    code = _flow(task).get("exitCode")
    return None if code is None else int(code)


def explain(task: Mapping[str, Any]) -> str:
    """Say in a sentence why a stopped task ended."""
    code = exit_code(task)
    told = str(task.get("stoppedReason") or "")
    for words in (str(_flow(task).get("reason") or ""), told, *_others(task)):
        trouble = _trouble(words)
        if trouble:
            return trouble
    stop_code = str(task.get("stopCode") or "")
    if stop_code in _CODES:
        return f"{_CODES[stop_code]}{f' ({told})' if told else ''}"
    if code in {None, 137, 143}:
        # Where an essential container ends, ECS stops the others, the flow's too.
        for name, other in _failed_others(task):
            return f"the container {name} ended with exit code {other}, and the task with it"
    if code is not None:
        return _SIGNALLED.get(code, _by_code(code))
    return told.rstrip(".") or _TROUBLES.get(
        stop_code, "the task stopped, and ECS does not say why"
    )


def late(task: Mapping[str, Any], seconds: float) -> str:
    """Say that a task did not start in time, and what ECS said of it meanwhile."""
    status = task.get("lastStatus") or "not known"
    told = _trouble(str(task.get("stoppedReason") or "")) or _trouble(
        str(_flow(task).get("reason") or "")
    )
    because = f"; {told}" if told else ""
    return (
        f"the task did not start within {seconds:g} s (task_start_timeout_seconds) and was "
        f"stopped; it was {status}{because}"
    )


def refused(failures: Iterable[Mapping[str, Any]]) -> str:
    """Say why ECS found no place for a task, from the failures of RunTask."""
    told = []
    for one in failures:
        reason = str(one.get("reason") or "unknown")
        words = _ROOM.get(reason.upper(), reason.rstrip("."))
        detail = str(one.get("detail") or "")
        told.append(f"{words} ({detail})" if detail else words)
    return f"ECS found no place for the task: {'; '.join(dict.fromkeys(told)) or 'no reason given'}"


def _flow(task: Mapping[str, Any]) -> Mapping[str, Any]:
    containers = task.get("containers", ())
    return next((one for one in containers if one.get("name") == CONTAINER), {})


def _others(task: Mapping[str, Any]) -> list[str]:
    others = (one for one in task.get("containers", ()) if one.get("name") != CONTAINER)
    return [str(one.get("reason") or "") for one in others if one.get("exitCode") is None]


def _failed_others(task: Mapping[str, Any]) -> list[tuple[str, int]]:
    return [
        (str(one.get("name")), int(one["exitCode"]))
        for one in task.get("containers", ())
        if one.get("name") != CONTAINER and one.get("exitCode") not in {None, 0, 137, 143}
    ]


def _trouble(words: str) -> str | None:
    """Return what a reason of the form `Kind: words` means, with the platform's words."""
    kind, _, detail = words.partition(":")
    meaning = _TROUBLES.get(kind.strip())
    if meaning is None:
        return None
    return f"{meaning}: {detail.strip().rstrip('.')}" if detail.strip() else meaning


def _by_code(code: int) -> str:
    if code == 0:
        return "the container ended normally"
    return f"the container ended with exit code {code}"
