"""What a Job and its pods say of their end, or of what keeps them from starting. Pure.

Objects are as the API gives them in JSON (batch/v1 Job, v1 Pod).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.blocks.kubernetes_base import CONTAINER

Json = Mapping[str, Any]

NO_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
_CANNOT_RUN = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_DISRUPTED = {
    "PreemptionByScheduler": "the pod was preempted by one of higher priority",
    "DeletionByTaintManager": "the pod was evicted: its node does not take it any more",
    "EvictionByEvictionAPI": "the pod was evicted, as when a node is drained",
    "DeletionByPodGC": "the pod's node is gone",
    "TerminationByKubelet": "the pod was ended by its node",
}
_JOB = {
    "DeadlineExceeded": "the job ran longer than its activeDeadlineSeconds",
    "BackoffLimitExceeded": "the pod failed",
}
REMOVED = "the job was deleted by somebody else"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a job ended.

    Attributes:
        exit_code: of the flow's container; None where nobody knows.
        reason: one sentence for people.
    """

    exit_code: int | None
    reason: str


def verdict(job: Json, pods: Iterable[Json]) -> Verdict | None:
    """Return how a job ended; None while it has not.

    Args:
        job: the Job.
        pods: those of it that are still there.
    """
    outcome = _condition(job, "Complete") or _condition(job, "Failed")
    if outcome is None:
        return None
    pod = newest(pods)
    ended = None if pod is None else _terminated(pod)
    if outcome["type"] == "Complete":
        return Verdict(0, "the job completed")
    code = None if ended is None else ended.get("exitCode")
    return Verdict(code, _why(outcome, pod, ended))


def newest(pods: Iterable[Json]) -> Json | None:
    """Return the pod that was made last."""
    return max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), default=None)


def is_running(pod: Json) -> bool:
    """Tell whether a pod has come so far that its flow may have begun."""
    return pod.get("status", {}).get("phase") not in {None, "Pending"}


def hindrance(pod: Json | None) -> str:
    """Return what keeps a pod from starting, in Kubernetes' own words where it has some."""
    if pod is None:
        return "the job has no pod: see `kubectl describe job`, a quota may forbid it"
    for status in _statuses(pod):
        waiting = status.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in NO_IMAGE:
            return _words(f"its image {status.get('image', '')} can't be pulled", waiting)
        if waiting.get("reason") in _CANNOT_RUN:
            return _words("its container can't be made", waiting)
    scheduled = _condition(pod, "PodScheduled", "False")
    if scheduled is not None:
        return _words("no node takes its pod", scheduled)
    return "its pod is still pending"


def is_taken_away(pod: Json) -> bool:
    """Tell whether a pod that runs is being deleted."""
    running = pod.get("status", {}).get("phase") == "Running"
    return running and "deletionTimestamp" in pod["metadata"]


def taken_away(pod: Json) -> str:
    """Return why a pod is being deleted."""
    return _disruption(pod) or "the pod was deleted by somebody else"


def is_hopeless(pod: Json) -> bool:
    """Tell whether waiting can't help: the name of the image is no name."""
    waits = [status.get("state", {}).get("waiting") or {} for status in _statuses(pod)]
    return any(one.get("reason") in {"InvalidImageName", "ErrImageNeverPull"} for one in waits)


def _why(outcome: Json, pod: Json | None, ended: Json | None) -> str:
    if pod is not None and (disrupted := _disruption(pod)):
        return disrupted
    if ended is None:
        known = _JOB.get(outcome.get("reason", ""))
        return known if known is not None else _words("the job failed", outcome)
    if ended.get("reason") == "OOMKilled":
        return "the container was killed since its memory was used up (OOM): raise its limit"
    if outcome.get("reason") == "DeadlineExceeded":
        return _JOB["DeadlineExceeded"]
    if ended.get("reason") == "ContainerCannotRun":
        return _words("the container can't run", ended)
    return f"the container ended with exit code {ended.get('exitCode')}"


def _disruption(pod: Json) -> str | None:
    status = pod.get("status", {})
    target = _condition(pod, "DisruptionTarget")
    if target is not None and target.get("reason") in _DISRUPTED:
        return _words(_DISRUPTED[target["reason"]], target)
    if status.get("reason") == "Evicted":
        return _words("the pod was evicted", status)
    if status.get("reason") in {"Preempting", "Shutdown", "Terminated", "NodeShutdown", "NodeLost"}:
        return _words("the pod was ended by its node", status)
    return None


def _condition(thing: Json, kind: str, value: str = "True") -> Json | None:
    conditions: Sequence[Json] = thing.get("status", {}).get("conditions") or ()
    found = (one for one in conditions if one.get("type") == kind and one.get("status") == value)
    return next(found, None)


def _terminated(pod: Json) -> Json | None:
    for status in _statuses(pod):
        if status.get("name") == CONTAINER:
            ended: Json | None = status.get("state", {}).get("terminated")
            return ended
    return None


def _statuses(pod: Json) -> Sequence[Json]:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _words(sentence: str, source: Json) -> str:
    message = " ".join(str(source.get("message") or source.get("reason") or "").split())
    return f"{sentence}: {message}" if message else sentence
