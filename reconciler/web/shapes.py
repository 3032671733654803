"""What the HTTP API answers: public shapes, described by OpenAPI."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from reconciler.controller.board import Standing
from reconciler.model.plan import change_to_json
from reconciler.model.status import (
    ApplyRecord,
    DriftRecord,
    Resource,
    ResourceState,
    RunRecord,
    SourceStatus,
)
from reconciler.web.backend import AgentStatus, Backend


class _Shape(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class SourceShape(_Shape):
    """The followed repository."""

    location: str = Field(description="URL or path, without credentials.")
    ref: str | None = Field(description="Branch, tag or commit; null for the remote's HEAD.")
    path: str
    revision: str | None = Field(description="The commit that was fetched last.")
    fetched_at: datetime | None = Field(description="When the remote answered last.")
    error: str | None
    hint: str | None


class AgentShape(_Shape):
    """The embedded agent."""

    name: str
    pool: str
    active: int = Field(description="Flow runs that it is at work on.")
    limit: int | None = Field(description="Most flow runs at a time; null without a limit.")


class ProblemShape(_Shape):
    """Something to mend in the manifests."""

    place: str = Field(description="file:line:col")
    message: str
    hint: str | None
    severity: str


class StatusShape(_Shape):
    """The service at a glance."""

    version: str
    prefect: str = Field(description="What answers at the API, for people.")
    inventory: str
    revision: str | None = Field(description="The revision that is in force.")
    suspended: bool
    turned_at: datetime | None = Field(description="When the last reconciliation ended.")
    converged_at: datetime | None = Field(description="When one converged last.")
    resources: dict[str, int] = Field(description="Number of resources by state.")
    error: str | None
    hint: str | None
    problems: list[ProblemShape]
    history_error: str | None
    source: SourceShape | None
    agent: AgentShape | None


class ResourceShape(_Shape):
    """A declared or owned resource."""

    key: str
    state: ResourceState
    reason: str
    source: str | None = Field(description="file:line:col that declares it.")
    id: str | None = Field(description="Of the live object, where known.")
    change: dict[str, Any] | None = Field(description="What differs, as in a plan's JSON.")


class ApplyShape(_Shape):
    """A reconciliation that did something, or could not."""

    id: int
    revision: str | None
    started: datetime
    ended: datetime
    result: str
    summary: dict[str, int]
    error: str | None


class ApplyDetailShape(ApplyShape):
    """The same with its report."""

    report: dict[str, Any] | None


class DriftShape(_Shape):
    """A field that changed behind git's back."""

    id: int
    key: str
    path: str = Field(description='Of the field, dotted; "" for the object as a whole.')
    cause: str
    policy: str
    before: Any = Field(description="What the API held; a mark for a secret.")
    after: Any = Field(description="What git wants.")
    first_seen: datetime
    ended: datetime | None
    end: str | None


class RunShape(_Shape):
    """A flow run of the embedded agent."""

    id: str
    name: str
    infrastructure: str
    pid: str
    state: str
    text: str
    since: datetime
    ended: datetime | None


class AcceptedShape(_Shape):
    """It will be done."""

    accepted: Literal[True] = True
    message: str


def status_of(backend: Backend, version: str) -> StatusShape:
    """Return the service at a glance."""
    standing = backend.board.standing
    error = standing.error
    return StatusShape(
        version=version,
        prefect=backend.place.server,
        inventory=backend.place.inventory,
        revision=standing.revision,
        suspended=standing.suspended,
        turned_at=standing.turned_at,
        converged_at=standing.converged_at,
        resources=standing.counts,
        error=None if error is None else error.message,
        hint=None if error is None else error.hint,
        problems=_problems(standing),
        history_error=standing.history_error,
        source=_source(backend.source),
        agent=_agent(backend.agent),
    )


def resource_of(resource: Resource) -> ResourceShape:
    """Return the shape of a resource."""
    return ResourceShape(
        key=str(resource.key),
        state=resource.state,
        reason=resource.reason,
        source=None if resource.source is None else str(resource.source),
        id=resource.id,
        change=None if resource.change is None else change_to_json(resource.change),
    )


def apply_of(record: ApplyRecord) -> ApplyShape:
    """Return the shape of a reconciliation."""
    return ApplyShape.model_validate(record)


def drift_of(record: DriftRecord) -> DriftShape:
    """Return the shape of a drift."""
    return DriftShape.model_validate(record)


def run_of(record: RunRecord) -> RunShape:
    """Return the shape of a flow run."""
    return RunShape.model_validate(record)


def _problems(standing: Standing) -> list[ProblemShape]:
    return [
        ProblemShape(
            place=str(one.place), message=one.message, hint=one.hint, severity=one.severity
        )
        for one in standing.problems
    ]


def _source(source: SourceStatus | None) -> SourceShape | None:
    return None if source is None else SourceShape.model_validate(source)


def _agent(agent: AgentStatus | None) -> AgentShape | None:
    return None if agent is None else AgentShape.model_validate(agent)
