"""Flow runs over the API: due ones, proposals of states, handles, and what belongs to a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from reconciler.api.client import Api, Repeat
from reconciler.errors import NotFound

FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
"""State types that end a run."""


@dataclass(frozen=True, slots=True)
class RunState:
    """A state of a flow run.

    Attributes:
        type: `SCHEDULED`, `PENDING`, …
        name: what people see: `Late`, `AwaitingRetry`, ….
        transition_id: of the proposal that made it, None if it had none.
        timestamp: by the server's clock.
        message: for people.
        scheduled_time: when a SCHEDULED state may start.
        data: what the state carries for clients, kept as it is.
    """

    type: str
    name: str
    transition_id: str | None = None
    timestamp: datetime | None = None
    message: str | None = None
    scheduled_time: datetime | None = None
    data: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class FlowRun:
    """A flow run.

    Attributes:
        id: of the run.
        name: of the run.
        flow_id: its flow.
        deployment_id: its deployment, None for a run without one.
        state: its present state.
        due: when it may start; None unless it is scheduled.
        pid: `infrastructure_pid`.
        queue: name of its work queue.
        job_variables: overrides given with the run itself.
    """

    id: str
    name: str
    flow_id: str
    deployment_id: str | None
    state: RunState
    due: datetime | None = None
    pid: str | None = None
    queue: str | None = None
    job_variables: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def cancelling(self) -> bool:
        """Whether its infrastructure is to be stopped.

        Prefect 2 clients before 2.11 asked with a CANCELLED state named "Cancelling" (facts: the
        2.20 agent honours both).
        """
        return self.state.type == "CANCELLING" or (
            self.state.type == "CANCELLED" and self.state.name == "Cancelling"
        )


class Answer(StrEnum):
    """What orchestration says to a proposed state."""

    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    ABORT = "ABORT"
    WAIT = "WAIT"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a proposal, and the state that the run is in now.

    Attributes:
        answer: of orchestration.
        state: the run's state after it.
        reason: the server's, for people.
    """

    answer: Answer
    state: RunState
    reason: str = ""


async def due_runs(
    api: Api, pool: str, queues: Sequence[str] | None, before: datetime, limit: int
) -> list[FlowRun]:
    """List scheduled runs of a pool's queues that become due before a moment, earliest first.

    Args:
        api: the API.
        pool: the work pool.
        queues: names of its queues; None means all.
        before: by the server's clock.
        limit: most runs to list, 1 to 200.

    Raises:
        NotFound: the pool or one of the queues does not exist (facts: on both versions).
    """
    body: dict[str, Any] = {"scheduled_before": before.isoformat(), "limit": limit}
    if queues is not None:
        body["work_queue_names"] = list(queues)
    found = await api.post(
        f"/work_pools/{quote(pool, safe='')}/get_scheduled_flow_runs", body, repeat=Repeat.SAFE
    )
    return [_run(item["flow_run"]) for item in found]


async def runs_in(api: Api, pool: str, types: Sequence[str]) -> list[FlowRun]:
    """List the runs of a pool whose state is of one of the types, or is named "Cancelling"."""
    state = {"operator": "or_", "type": {"any_": list(types)}, "name": {"any_": ["Cancelling"]}}
    body = {
        "flow_runs": {"state": state},
        "work_pools": {"name": {"any_": [pool]}},
        "sort": "ID_DESC",
    }
    return [_run(item) async for page in api.pages("/flow_runs/filter", body) for item in page]


async def read_run(api: Api, run_id: str) -> FlowRun | None:
    """Read a run; None if it does not exist."""
    try:
        return _run(await api.get(f"/flow_runs/{run_id}"))
    except NotFound:
        return None


async def find_runs(api: Api, name: str, limit: int = 2) -> list[FlowRun]:
    """List the runs of a name, the latest first."""
    body = {
        "flow_runs": {"name": {"any_": [name]}},
        "sort": "EXPECTED_START_TIME_DESC",
        "limit": limit,
    }
    found = await api.post("/flow_runs/filter", body, repeat=Repeat.SAFE)
    return [_run(item) for item in found]


async def propose(
    api: Api,
    run_id: str,
    state: RunState,
    *,
    force: bool = False,
) -> Verdict | None:
    """Propose a state; None if the run does not exist any more.

    With a `transition_id` a lost answer is asked again without harm: the server says that the
    transition was already made (facts: both versions). Final states may be repeated anyway.
    """
    details: dict[str, str] = {}
    if state.transition_id is not None:
        details["transition_id"] = state.transition_id
    if state.scheduled_time is not None:
        details["scheduled_time"] = state.scheduled_time.isoformat()
    body = {
        "state": {
            "type": state.type,
            "name": state.name,
            "message": state.message,
            "data": state.data,
            "state_details": details,
        },
        "force": force,
    }
    try:
        answer = await api.post(f"/flow_runs/{run_id}/set_state", body, repeat=Repeat.SAFE)
    except NotFound:
        return None
    return Verdict(
        Answer(answer["status"]),
        _state(answer["state"] or {}),
        (answer.get("details") or {}).get("reason") or "",
    )


async def record_pid(api: Api, run_id: str, pid: str) -> None:
    """Record the handle of a run's infrastructure.

    Raises:
        NotFound: the run was deleted.
    """
    await api.patch(f"/flow_runs/{run_id}", {"infrastructure_pid": pid})


async def history(api: Api, run_id: str) -> list[RunState]:
    """List all states that a run went through, oldest first."""
    found = await api.get("/flow_run_states/", params={"flow_run_id": run_id})
    return sorted((_state(item) for item in found), key=_moment)


async def read_deployment(api: Api, deployment_id: str) -> dict[str, Any]:
    """Read a deployment as the API gives it, overrides under `job_variables` on both versions.

    Raises:
        NotFound: it does not exist.
    """
    found: dict[str, Any] = await api.get(f"/deployments/{deployment_id}")
    # facts: 2.20 answers with infra_overrides only, 3.x with job_variables only.
    return {
        **found,
        "job_variables": found.get("job_variables") or found.get("infra_overrides") or {},
    }


async def read_flow_name(api: Api, flow_id: str) -> str:
    """Read a flow's name.

    Raises:
        NotFound: it does not exist.
    """
    return str((await api.get(f"/flows/{flow_id}"))["name"])


async def read_block(api: Api, document_id: str) -> dict[str, Any]:
    """Read a block document with its secrets and nested blocks. Never log the result.

    Raises:
        NotFound: it does not exist.
    """
    found: dict[str, Any] = await api.get(
        f"/block_documents/{document_id}", params={"include_secrets": "true"}
    )
    return found


def _run(item: Mapping[str, Any]) -> FlowRun:
    return FlowRun(
        id=item["id"],
        name=item["name"],
        flow_id=item["flow_id"],
        deployment_id=item.get("deployment_id"),
        state=_state(item.get("state") or {}),
        due=_time(item.get("next_scheduled_start_time")),
        pid=item.get("infrastructure_pid"),
        queue=item.get("work_queue_name"),
        job_variables=item.get("job_variables") or {},
    )


def _state(item: Mapping[str, Any]) -> RunState:
    return RunState(
        type=item.get("type") or "",
        name=item.get("name") or "",
        transition_id=(item.get("state_details") or {}).get("transition_id"),
        timestamp=_time(item.get("timestamp")),
        message=item.get("message"),
        data=item.get("data"),
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _moment(state: RunState) -> float:
    return 0.0 if state.timestamp is None else state.timestamp.timestamp()
