"""When a request may be sent again, and when.

Which answers and exceptions pass by themselves is what Prefect's own client takes for it
(facts: auth, TLS, Cloud), and the gateway time-out beside them.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from math import isfinite

import httpx

NOT_TAKEN = frozenset({408, 429})
"""The server did not take the request up: it can always be sent again."""

OVERLOAD = frozenset({429, 502, 503, 504})
"""Answers of a server that has too much to do."""

_PASSING = frozenset({408, 429, 502, 503, 504})
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_BROKEN_SERVER = 500

BROKEN_ATTEMPTS = 3
"""How often a request that the server breaks on (500) is tried: most such faults stay."""


class Fate(Enum):
    """What became of one attempt."""

    ANSWERED = "answered"  # for good, whatever it says
    NOT_TAKEN = "not taken"  # certainly without effect
    UNKNOWN = "unknown"  # it may have had its effect


def fate_of_status(status: int) -> Fate:
    """Class an answer. A 5xx may come after the effect: proxies, commits that time out."""
    if status in NOT_TAKEN:
        return Fate.NOT_TAKEN
    if status in _PASSING or status >= _BROKEN_SERVER:
        return Fate.UNKNOWN
    return Fate.ANSWERED


def fate_of_error(error: Exception) -> Fate:
    """Class a failure of the connection."""
    return Fate.NOT_TAKEN if isinstance(error, _NEVER_SENT) else Fate.UNKNOWN


def retry_after(value: str | None, now: datetime) -> float | None:
    """Read a `Retry-After` header: seconds or an HTTP date (RFC 9110, 10.2.3).

    Args:
        value: the header.
        now: the server's clock.

    Returns:
        Seconds from now, not below 0; None where there is no readable header.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            seconds = (aware - now).total_seconds()
        except (TypeError, ValueError, OverflowError):
            return None
    return max(0.0, seconds) if isfinite(seconds) else None
