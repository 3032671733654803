"""What the service writes into its log."""

from collections import Counter
from collections.abc import Callable

from reconciler.controller.follow import Reconciled
from reconciler.errors import InvalidManifests, ReconcilerError
from reconciler.runtime.log import Log

_MOST_PROBLEMS = 20
_AGAIN = "a part of the service failed and is tried again"

log = Log("reconciler.service")


def tell_turn(turn: Reconciled) -> None:
    """Tell of a turn; say nothing where nothing happened."""
    error, report = turn.error, turn.report
    if error is not None:
        problems = error.problems[:_MOST_PROBLEMS] if isinstance(error, InvalidManifests) else ()
        more = {"problems": [str(one) for one in problems]} if problems else {}
        log.warning("not reconciled", reason=error.message, hint=error.hint, **more)
    if report is None or not (report.outcomes or turn.fresh):
        return
    say = log.info if report.converged else log.warning
    counts = Counter(outcome.result.value for outcome in report.outcomes)
    say("reconciled", revision=report.plan.revision, **counts)
    for outcome in report.outcomes:
        if outcome.error:
            key, result = str(outcome.change.key), outcome.result.value
            log.warning(outcome.error, key=key, outcome=result)
    if report.error:
        log.error("the apply stopped", reason=report.error)


def failed(what: str) -> Callable[[Exception], None]:
    """Return what tells that a part of the service failed, and is tried again."""

    def tell(error: Exception) -> None:
        if isinstance(error, ReconcilerError):
            log.warning(_AGAIN, part=what, reason=error.message, hint=error.hint)
        else:
            log.error(_AGAIN, part=what, exc_info=error)

    return tell
