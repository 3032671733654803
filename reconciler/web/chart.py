"""Drifts by day, as numbers that a page can draw. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from reconciler.model.status import DriftEnd, DriftRecord

DAYS = 30


@dataclass(frozen=True, slots=True)
class Day:
    """The drifts that were first seen on one day (UTC), by what became of them."""

    day: date
    healed: int = 0
    gone: int = 0
    lasting: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.healed + self.gone + self.lasting


def days(drifts: Iterable[DriftRecord], now: datetime) -> tuple[Day, ...]:
    """Return the last thirty days, the oldest first."""
    counts = {
        now.date() - timedelta(days=back): {"healed": 0, "gone": 0, "lasting": 0}
        for back in range(DAYS - 1, -1, -1)
    }
    for drift in drifts:
        of_day = counts.get(drift.first_seen.date())
        if of_day is not None:
            of_day[_NAMES[drift.end]] += 1
    return tuple(Day(day, **of_day) for day, of_day in counts.items())


_NAMES = {DriftEnd.HEALED: "healed", DriftEnd.GONE: "gone", None: "lasting"}
