"""The server's clock, learnt from the `Date` header of its answers."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from reconciler.runtime.clock import Clock

CLOCK_LAG = 2.0
"""Seconds by which a `Date` can lag: it has whole seconds, and uvicorn renews it once a second."""

_DRIFT = 1e-4
"""How much two clocks may drift apart, per second: our certainty fades as quickly."""


class ServerClock:
    """The server's time as far as its answers prove it: never ahead of the truth, at most 2 s behind.

    A run is claimed when this clock says it is due, so it must not run ahead.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lowest: float | None = None  # server time less our monotonic clock, as proved
        self._highest = 0.0
        self._learnt = 0.0

    def learn(self, date: str | None, sent: float) -> None:
        """Take in an answer's `Date` header.

        Args:
            date: the header; anything unreadable is passed over.
            sent: the monotonic time at which the request was sent.
        """
        try:
            stamp = parsedate_to_datetime(date or "").replace(tzinfo=UTC).timestamp()
        except ValueError:
            return
        received = self._clock.monotonic()
        lowest, highest = stamp - received, stamp + CLOCK_LAG - sent
        if self._lowest is not None:
            faded = _DRIFT * (received - self._learnt)
            before, after = self._lowest - faded, self._highest + faded
            if before <= highest and lowest <= after:  # otherwise one of the clocks was set
                lowest, highest = max(lowest, before), min(highest, after)
        self._lowest, self._highest, self._learnt = lowest, highest, received

    def now(self) -> datetime:
        """Return the server's time in UTC; our own until it has answered."""
        if self._lowest is None:
            return self._clock.now()
        return datetime.fromtimestamp(0, UTC) + timedelta(
            seconds=self._clock.monotonic() + self._lowest
        )
