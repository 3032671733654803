"""What the fault proxy is told, and what it has seen."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

_READ_POSTS = re.compile(
    r"/(filter|filter_minimal|count|history|paginate|get_scheduled_flow_runs|lateness)/?(\?.*)?$"
)


class When(StrEnum):
    """The side of the server's work on which something goes wrong."""

    BEFORE = "before"  # the server never saw the request
    AFTER = "after"  # the server did the work, the client does not learn of it


class Fault(StrEnum):
    """What the client gets instead of the answer."""

    BUSY = "503"
    LIMITED = "429"  # with Retry-After
    RESET = "reset"
    HANG = "hang"  # silence for `seconds` or until all is healed, then a reset
    TRUNCATED = "truncated"  # half the body, then a reset; always after the server's work
    DELAY = "delay"  # the true answer, `seconds` late
    NONE = "none"  # the true answer; for rules that only call something


@dataclass(frozen=True, slots=True)
class Rule:
    """Which requests fail and how.

    Attributes:
        fault: what the client gets.
        when: before or after the server's work.
        method: regular expression that the method must match as a whole.
        path: regular expression searched in path and query.
        share: probability, 0 to 1, drawn by the proxy's seed for each request.
        nth: only the n-th matching request, counted from 1 since the rule was added.
        limit: stop after so many faults.
        seconds: of silence, delay or Retry-After.
        action: called at that moment, from a thread of its own, before the client gets anything.
    """

    fault: Fault
    when: When = When.BEFORE
    method: str = ".*"
    path: str = ".*"
    share: float = 1.0
    nth: int | None = None
    limit: int | None = None
    seconds: float = 1.0
    action: Callable[[], object] | None = None

    def matches(self, method: str, path: str) -> bool:
        """Tell whether the rule is about such requests."""
        return bool(re.fullmatch(self.method, method) and re.search(self.path, path))


@dataclass(slots=True)
class Seen:
    """A request that reached the proxy.

    Attributes:
        number: from 1, in the order of arrival.
        method: of the request.
        path: with query, from the server's root (`/api/flows/filter`).
        body: of the request.
        status: of the server's own answer; None if it was never asked or did not answer.
        fault: what the client got instead of it, None if it got the answer.
        at: when it came, in seconds by the machine's clock that never goes back.
    """

    number: int
    method: str
    path: str
    body: bytes = b""
    status: int | None = None
    fault: Fault | None = None
    at: float = field(default_factory=time.monotonic)

    @property
    def is_write(self) -> bool:
        """Whether it means to change something (a filter or count in POST's clothes does not)."""
        return self.method not in {"GET", "HEAD"} and not _READ_POSTS.search(self.path)


class Armed:
    """A rule and how often it matched and fired."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._matched = 0
        self._fired = 0
        self._again = False

    def due(self, seen: Seen, chance: float) -> bool:
        """Tell whether it fires for a request; whatever is said, the request counts."""
        rule = self.rule
        if not rule.matches(seen.method, seen.path):
            return False
        self._matched += 1
        if rule.limit is not None and self._fired >= rule.limit:
            return False
        if self._again:
            self._again = False
            return True
        return self._matched == rule.nth if rule.nth else chance < rule.share

    def fire(self) -> Rule:
        """Count it as fired."""
        self._fired += 1
        return self.rule

    def take_back(self) -> None:
        """Fire at the next request instead."""
        self._fired -= 1
        self._again = True
