"""What a Cloud Run job and its execution say of their end. Pure; objects are the API's JSON (v2)."""

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.model.launch import Ended

Json = Mapping[str, Any]

REMOVED = "the Cloud Run job was deleted by somebody else"
NEVER_RAN = (
    "Cloud Run was told to run the job, and made no execution of it; "
    "it isn't told again, since that could run the flow twice"
)
_PENDING = "EXECUTION_PENDING"
_FAILED, _SUCCEEDED = "CONDITION_FAILED", "CONDITION_SUCCEEDED"


def latest(job: Json) -> Json | None:
    """Return the reference to a job's execution; None where there is none yet."""
    reference: Json | None = job.get("latestCreatedExecution")
    return reference if reference and reference.get("name") else None


def is_over(reference: Json) -> bool:
    """Tell whether the execution that is referred to has ended."""
    return "completionTime" in reference


def is_pending(reference: Json) -> bool:
    """Tell whether an execution still waits for its resources."""
    return reference.get("completionStatus") in {None, _PENDING, "COMPLETION_STATUS_UNSPECIFIED"}


def is_settled(job: Json) -> bool:
    """Tell whether Cloud Run has taken in a job's last change, or given it up."""
    state = job.get("terminalCondition", {}).get("state")
    return state in {_FAILED, _SUCCEEDED} and not job.get("reconciling")


def fault(job: Json) -> str | None:
    """Return why a job can't run; None if it can."""
    condition = job.get("terminalCondition", {})
    if condition.get("state") != _FAILED:
        return None
    return _flat(condition.get("message") or condition.get("reason") or "no reason is given")


def hindrance(execution: Json) -> str:
    """Return what keeps an execution from starting, in Cloud Run's words where it has some."""
    told = [
        _flat(one["message"])
        for one in execution.get("conditions", ())
        if one.get("message") and one.get("state") != _SUCCEEDED
    ]
    return told[0] if told else "it waits for resources: a quota or the region's capacity"


def end_of(execution: Json, tasks: Sequence[Json]) -> Ended:
    """Return how an execution ended."""
    results = [one["lastAttemptResult"] for one in tasks if "lastAttemptResult" in one]
    result: Json = results[0] if results else {}
    if execution.get("succeededCount"):
        return Ended(0, "the Cloud Run job completed")
    code = result.get("exitCode")
    return Ended(code, _why(execution, result))


def _why(execution: Json, result: Json) -> str:
    if execution.get("cancelledCount"):
        return "the execution was cancelled by somebody else"
    words = _flat(result.get("status", {}).get("message") or "")
    if "memory limit" in words.lower():
        return f"the container was killed since its memory was used up (OOM): {words}"
    if result.get("exitCode"):
        return f"the container ended with exit code {result['exitCode']}"
    if result.get("termSignal"):
        return f"the container was ended by signal {result['termSignal']}" + (
            f": {words}" if words else ""
        )
    told = [one for one in execution.get("conditions", ()) if one.get("type") == "Completed"]
    return words or _flat((told[0].get("message") if told else "") or "the execution failed")


def _flat(text: str) -> str:
    return " ".join(str(text).split())
