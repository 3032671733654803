"""Logs of commands, set up when there is something to log: most have nothing to."""

import logging
from collections.abc import Callable
from threading import RLock

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


def set_levels(level: str) -> None:
    """Set what is the least important level that anybody logs."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(number)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def configure(level: str, set_up: Callable[[], logging.Handler]) -> None:
    """Set levels now, and the rest before the first thing is logged, by whomever.

    Args:
        level: the least important one that is shown.
        set_up: sets logging up, and returns what handles all of it; called once.
    """
    set_levels(level)
    root = logging.getLogger()
    late = Late(set_up)
    root.handlers = [*(each for each in root.handlers if not isinstance(each, Late)), late]
    before_the_first_word(late.set_up)


class Late(logging.Handler):
    """Hands all records to a handler that is made for the first of them."""

    def __init__(self, set_up: Callable[[], logging.Handler]) -> None:
        super().__init__()
        self._set_up = set_up
        self._own_lock = RLock()
        self._made: logging.Handler | None = None
        self._making = False

    def set_up(self) -> logging.Handler | None:
        """Make it, once; None to whoever asks from inside of that."""
        with self._own_lock:
            if self._made is None and not self._making:
                self._making = True
                try:
                    self._made = self._set_up()
                finally:
                    self._making = False
            return self._made

    def emit(self, record: logging.LogRecord) -> None:
        """Hand it on. What is logged while logging is set up, by that itself, is dropped."""
        handler = self.set_up()
        if handler is not None:
            handler.handle(record)
