"""What a container group says of its end. Pure; groups are the API's JSON (2023-05-01)."""

from collections.abc import Mapping
from typing import Any

from reconciler.model.launch import Ended

Json = Mapping[str, Any]

REMOVED = "the container group was deleted by somebody else"
_OVER = frozenset({"Succeeded", "Failed", "Stopped", "Terminated"})
_OOM = "OOMKilled"


def looks_over(group: Json) -> bool | None:
    """Tell whether a group in a list has ended; None where the list does not say."""
    state = group.get("properties", {}).get("instanceView", {}).get("state")
    return None if state is None else state in _OVER


def has_started(group: Json) -> bool:
    """Tell whether the flow's container runs, or has run."""
    return _state(group).get("state") in {"Running", "Terminated"}


def end_of(group: Json) -> Ended | None:
    """Return how a group ended; None while it has not."""
    properties = group.get("properties", {})
    state = _state(group)
    if state.get("state") == "Terminated":
        code = state.get("exitCode")
        return Ended(code, _why(code, str(state.get("detailStatus") or "")))
    if properties.get("provisioningState") == "Failed":
        return Ended(None, f"Azure could not make the container group: {hindrance(group)}")
    if properties.get("instanceView", {}).get("state") == "Stopped":
        return Ended(None, "the container group was stopped by somebody else")
    return None


def hindrance(group: Json) -> str:
    """Return what keeps a group from starting, in Azure's words where it has some."""
    view = group.get("properties", {}).get("instanceView", {})
    events = [*view.get("events", ()), *_view(group).get("events", ())]
    warnings = [one for one in events if one.get("type") == "Warning"] or events
    last = max(warnings, key=lambda one: str(one.get("lastTimestamp") or ""), default=None)
    if last is not None and last.get("message"):
        return " ".join(str(last["message"]).split())
    return str(_state(group).get("detailStatus") or "Azure has not started it yet")


def _why(code: int | None, detail: str) -> str:
    if detail == _OOM:
        return "the container was killed since its memory was used up (OOM): raise memory"
    if code == 0:
        return "the container group completed"
    if code is None:
        return f"the container ended: {detail}" if detail else "the container ended"
    return f"the container ended with exit code {code}"


def _view(group: Json) -> Json:
    containers = group.get("properties", {}).get("containers") or [{}]
    found: Json = containers[0].get("properties", {}).get("instanceView") or {}
    return found


def _state(group: Json) -> Json:
    found: Json = _view(group).get("currentState") or {}
    return found
