"""Logs of commands, set up when there is something to log: most have nothing to."""

import logging
from collections.abc import Callable

from reconciler.runtime.log import before_the_first_word

_TALKATIVE = (
    "asyncio",
    "git",
    "httpcore",
    "httpx",
    "uvicorn.access",
    "uvicorn.error",
    "watchfiles",
)
"""Libraries that log each step; only their warnings are shown."""


def set_levels(number: int) -> None:
    """Set what is the least important level that anybody logs."""
    logging.getLogger().setLevel(number)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def configure(level: str, set_up: Callable[[], logging.Handler]) -> None:
    """Set levels now, and the rest before the first thing is logged, by whomever.

    Args:
        level: the least important one that is shown.
        set_up: sets logging up, and returns its handler.
    """
    set_levels(logging.getLevelNamesMapping()[level.upper()])
    root = logging.getLogger()
    late = _Late(set_up)
    # A list of its own: somebody may be going through the one that was.
    root.handlers = [*(each for each in root.handlers if not isinstance(each, _Late)), late]
    before_the_first_word(late.set_up)


class _Late(logging.Handler):
    """Gives way to the handler that is to be, with the first record."""

    def __init__(self, set_up: Callable[[], logging.Handler]) -> None:
        super().__init__()
        self._set_up = set_up
        self._made: logging.Handler | None = None

    def set_up(self) -> logging.Handler:
        """Do it once; return the handler."""
        if self._made is None:
            root = logging.getLogger()
            root.handlers = [each for each in root.handlers if each is not self]
            self._made = self._set_up()
        return self._made

    def emit(self, record: logging.LogRecord) -> None:
        """Have the first record handled by whoever handles all others."""
        self.set_up().handle(record)
