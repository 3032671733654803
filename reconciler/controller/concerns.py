"""What people want to be told of, as things stand. Pure."""

from collections.abc import Iterator

from reconciler.controller.board import Standing
from reconciler.controller.standing import drifted_fields
from reconciler.errors import LeaseHeld, ReconcilerError, StaleRevision
from reconciler.model.plan import Action, Change
from reconciler.model.report import Report, Result
from reconciler.model.status import Concern, Resource, ResourceState, SourceStatus

_MOST_FIELDS = 8

_OF_STATES = {
    ResourceState.DRIFTED: "drift",
    ResourceState.FAILED: "failed",
    ResourceState.HELD: "held",
}


def concerns(
    standing: Standing, source: SourceStatus | None, trouble: str | None
) -> dict[str, Concern]:
    """Return what concerns people now, by id.

    Args:
        standing: as of the last turn.
        source: the repository.
        trouble: why the Prefect API isn't reached; None if it is.
    """
    return {one.id: one for one in _all(standing, source, trouble)}


def healed(report: Report | None) -> Iterator[Concern]:
    """Yield the drift that an apply has healed."""
    for outcome in report.outcomes if report else ():
        change = outcome.change
        fields = tuple(drifted_fields(change))
        if fields and outcome.result is Result.DONE and change.action is not Action.BLOCKED:
            text = f"{_fields(change)} changed in the API; git's value is back"
            yield Concern("healed", str(change.key), text)


def _all(standing: Standing, source: SourceStatus | None, trouble: str | None) -> Iterator[Concern]:
    if trouble is not None:
        yield Concern("server", "", trouble)
    if source is not None and source.error is not None:
        yield Concern("source", "", source.error)
    if standing.problems:
        number = len(standing.problems)
        what = f"{number} problem{'s' * (number != 1)}, the first: {standing.problems[0]}"
        yield Concern("manifests", standing.newest or "", what)
    elif _matters(standing.error) and trouble is None and not (source and source.error):
        yield Concern("failed", "", standing.error.message if standing.error else "")
    for resource in standing.resources:
        topic = _OF_STATES.get(resource.state)
        if topic is not None:
            yield Concern(topic, str(resource.key), _text(resource))


def _matters(error: ReconcilerError | None) -> bool:
    """Tell whether an error concerns people: that another replica writes, or a newer revision comes, does not."""
    return error is not None and not isinstance(error, LeaseHeld | StaleRevision)


def _text(resource: Resource) -> str:
    change = resource.change
    if resource.state is ResourceState.DRIFTED and change is not None:
        return f"{_fields(change)} changed in the API"
    return resource.reason or resource.state.value.replace("_", " ")


def _fields(change: Change) -> str:
    paths = [field.path for field in drifted_fields(change) if field is not None]
    if not paths:
        return "the object"
    more = len(paths) - _MOST_FIELDS
    return ", ".join(paths[:_MOST_FIELDS]) + (f" and {more} more fields" if more > 0 else "")
