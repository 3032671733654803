"""How each resource stands after a turn. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from reconciler.model.desired import DesiredState
from reconciler.model.keys import Key
from reconciler.model.places import Place
from reconciler.model.plan import Action, Cause, Change, FieldChange, Plan
from reconciler.model.report import Outcome, Report, Result
from reconciler.model.status import Resource, ResourceState

_DRIFT = (Cause.DRIFT, Cause.BOTH)


def resources(
    desired: DesiredState | None,
    plan: Plan | None,
    report: Report | None,
    before: Iterable[Resource] = (),
) -> tuple[Resource, ...]:
    """Return every declared resource and every other one that differs, sorted by key.

    Args:
        desired: the last good revision.
        plan: what differed.
        report: what was done about it; None if nothing was.
        before: how they stood before; what the plan was not about stands as it did.
    """
    kept = _kept(plan, before)
    changes = {change.key: change for change in (plan.changes if plan else ())}
    outcomes = {outcome.change.key: outcome for outcome in (report.outcomes if report else ())}
    declared = {} if desired is None else desired.declarations
    found = []
    for key in sorted(dict.fromkeys((*declared, *changes, *kept))):  # mostly sorted already
        place = declared[key].place if key in declared else None
        if key in kept:
            found.append(_moved(kept[key], place))
            continue
        change, outcome = changes.get(key), outcomes.get(key)
        if change is not None and _is_gone(change, outcome):
            continue
        if change is None:
            found.append(Resource(key, ResourceState.IN_SYNC, source=place))
            continue
        state, reason = _standing(change, outcome)
        settled = state is ResourceState.IN_SYNC
        id_ = (outcome.id if outcome else None) or change.id
        found.append(
            Resource(key, state, reason, place or change.source, None if settled else change, id_)
        )
    return tuple(found)


def merged(plan: Plan, before: Plan | None, resources: Iterable[Resource]) -> Plan:
    """Return what differs as a whole after a turn that was about some resources only.

    Args:
        plan: of that turn.
        before: of the turn before.
        resources: as they stood before.
    """
    scope = plan.scope
    if scope is None or before is None:
        return plan
    others = [one.change for one in resources if one.change is not None and one.key not in scope]
    changes = tuple(sorted((*plan.changes, *others), key=lambda change: change.key))
    notices = dict.fromkeys((*before.notices, *plan.notices))
    return replace(plan, changes=changes, notices=tuple(notices), scope=None)


def _kept(plan: Plan | None, before: Iterable[Resource]) -> dict[Key, Resource]:
    if plan is None or plan.scope is None:
        return {}
    return {one.key: one for one in before if one.key not in plan.scope}


def _moved(resource: Resource, place: Place | None) -> Resource:
    """Return a resource with the place at which it is declared now."""
    if place is None or place is resource.source or place == resource.source:
        return resource
    return replace(resource, source=place)


def drifted_fields(change: Change) -> Iterator[FieldChange | None]:
    """Yield the fields of a change that moved behind git's back; None for the object as a whole."""
    fields = [field for field in change.fields if field.cause in _DRIFT]
    if fields and change.action is not Action.CREATE and change.wanted is not Action.CREATE:
        yield from fields
    elif change.cause in _DRIFT:
        yield None


def _is_gone(change: Change, outcome: Outcome | None) -> bool:
    return change.action is Action.DELETE and outcome is not None and outcome.result is Result.DONE


def _standing(change: Change, outcome: Outcome | None) -> tuple[ResourceState, str]:
    if outcome is None or outcome.result is Result.HELD:
        return _pending(change), change.reason
    if outcome.result in (Result.FAILED, Result.SKIPPED):
        return ResourceState.FAILED, outcome.error or change.reason
    if outcome.remaining:
        paths = ", ".join(field.path for field in outcome.remaining)
        return ResourceState.FAILED, outcome.error or f"still differs after the write: {paths}"
    kept = [field for field in change.fields if field.held]
    if kept:
        return ResourceState.DRIFTED, "; ".join(sorted({field.held or "" for field in kept}))
    return ResourceState.IN_SYNC, ""


def _pending(change: Change) -> ResourceState:
    if change.drifted:
        return ResourceState.DRIFTED
    return ResourceState.HELD if change.action is Action.BLOCKED else ResourceState.OUT_OF_SYNC
