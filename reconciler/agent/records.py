"""What people are shown of a flow run, grown from what the agent tells. Pure."""

from datetime import datetime

from reconciler.agent.observer import AgentEvent, Happening
from reconciler.model.status import RunRecord

_STATES = {
    Happening.CLAIMED: "claimed",
    Happening.STARTED: "running",
    Happening.ATTACHED: "running",
    Happening.STOPPING: "stopping",
    Happening.REQUEUED: "scheduled",
}


def grown(before: RunRecord | None, event: AgentEvent, now: datetime) -> RunRecord | None:
    """Return the record of an event's run after it; None if the event is about no run.

    Args:
        before: the record of the run, None where the event is the first of it.
        event: what the agent told.
        now: when.
    """
    if event.run_id is None:
        return None
    if event.what is Happening.ENDED:
        state, ended = (event.state or "deleted").lower(), now
    elif event.what in _STATES:
        state, ended = _STATES[event.what], None
    else:  # a problem, which the next survey looks after
        state, ended = ("claimed", None) if before is None else (before.state, before.ended)
    return RunRecord(
        id=event.run_id,
        name=event.run_name or (before.name if before else event.run_id[:8]),
        infrastructure=event.infrastructure or (before.infrastructure if before else ""),
        pid=event.pid or (before.pid if before else ""),
        state=state,
        text=event.text,
        since=now if before is None or before.ended else before.since,
        ended=ended,
    )
