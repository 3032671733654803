"""Notes what changed behind git's back: when it was first seen, and how it ended."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from reconciler.controller.history import History, Sight
from reconciler.controller.standing import drifted_fields
from reconciler.model.desired import DesiredState
from reconciler.model.plan import Action, Change, FieldChange, Plan, change_to_json
from reconciler.model.report import Report, Result
from reconciler.model.status import DriftEnd, DriftRecord


def note_drifts(
    history: History,
    plan: Plan,
    desired: DesiredState,
    now: datetime,
    *,
    report: Report | None = None,
    whole: bool = True,
) -> dict[Sight, datetime]:
    """Note the drift of a plan.

    Args:
        history: where.
        plan: what differs.
        desired: the revision, for the policy of each resource.
        now: when it was seen.
        report: what was done about it; None if nothing was.
        whole: the plan is of all resources (or all in its scope), so what it doesn't show is over.

    Returns:
        When each drift of the plan was first seen.

    Raises:
        HistoryUnavailable: it can't be noted.
    """
    known = history.open_drifts()
    seen: dict[Sight, datetime] = {}
    for change in plan.changes:
        policy = _policy(change, desired)
        for field in drifted_fields(change):
            drift = _drift(change, field, policy, now)
            sight = (drift.key, drift.path)
            seen[sight] = known[sight].first_seen if sight in known else now
            healed = _is_healed(change, field, report)
            if sight not in known:
                ended = replace(drift, ended=now, end=DriftEnd.HEALED)
                history.begin_drift(ended if healed else drift)
            elif healed:
                history.end_drift(known[sight].id, now, DriftEnd.HEALED)
    scope = None if plan.scope is None else {str(key) for key in plan.scope}
    for sight, record in known.items():
        if whole and sight not in seen and (scope is None or record.key in scope):
            history.end_drift(record.id, now, DriftEnd.GONE)
    return seen


def dated(plan: Plan, seen: Mapping[Sight, datetime]) -> Plan:
    """Return a plan whose drifted fields tell when they were first seen."""
    return replace(plan, changes=tuple(_dated(change, seen) for change in plan.changes))


def _dated(change: Change, seen: Mapping[Sight, datetime]) -> Change:
    key = str(change.key)
    fields = tuple(
        replace(field, first_seen=seen.get((key, field.path))) for field in change.fields
    )
    return replace(change, fields=fields)


def _policy(change: Change, desired: DesiredState) -> str:
    declared = desired.declarations.get(change.key)
    own = None if declared is None else declared.options.drift
    return desired.policy.drift if own is None else own.value


def _drift(change: Change, field: FieldChange | None, policy: str, now: datetime) -> DriftRecord:
    cause = change.cause if field is None else field.cause
    shown: Mapping[str, object] = {}
    if field is not None:
        shown = next(f for f in change_to_json(change)["fields"] if f["path"] == field.path)
    path = "" if field is None else field.path
    before, after = shown.get("before"), shown.get("after")
    return DriftRecord(0, str(change.key), path, cause.value, policy, before, after, now)


def _is_healed(change: Change, field: FieldChange | None, report: Report | None) -> bool:
    outcome = None if report is None else report.of(change.key)
    if outcome is None or outcome.result is not Result.DONE or change.action is Action.BLOCKED:
        return False
    if field is None:
        return True
    return field.held is None and field.path not in {one.path for one in outcome.remaining}
