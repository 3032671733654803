"""What an apply did: one value for the terminal, the dashboard, metrics and notifications."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from reconciler.model.keys import Key
from reconciler.model.plan import Change, FieldChange, Plan, change_to_json


class Result(StrEnum):
    """How one change ended."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One change and its end.

    Attributes:
        change: as planned.
        result: done, failed, skipped (something it depends on failed) or held (blocked by the plan).
        error: what went wrong, for people, without secrets.
        remaining: fields that still differed when read back.
        id: of the object, where known.
    """

    change: Change
    result: Result
    error: str | None = None
    remaining: tuple[FieldChange, ...] = ()
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One reconciliation.

    Attributes:
        plan: what was to be done.
        outcomes: one for each change, in the plan's order.
        error: what stopped the apply as a whole (lease lost, server gone), None if nothing.
    """

    plan: Plan
    outcomes: tuple[Outcome, ...] = ()
    error: str | None = None

    @property
    def converged(self) -> bool:
        """Whether everything not held is done and nothing differs any more."""
        return self.error is None and all(
            o.result in (Result.DONE, Result.HELD) and not o.remaining for o in self.outcomes
        )

    def of(self, key: Key) -> Outcome | None:
        """Return the outcome of a key."""
        return next((o for o in self.outcomes if o.change.key == key), None)

    def to_json(self) -> dict[str, Any]:
        """Return the public JSON form (DESIGN section 4)."""
        return {
            **self.plan.to_json(),
            "changes": [
                {
                    **change_to_json(o.change),
                    "outcome": o.result.value,
                    "error": o.error,
                    "remaining": [f.path for f in o.remaining],
                }
                for o in self.outcomes
            ],
            "error": self.error,
            "converged": self.converged,
        }
