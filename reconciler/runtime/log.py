"""Loggers that import structlog when they first have something to say: seldom, in a command."""

from collections.abc import Callable
from typing import Any

_before: list[Callable[[], object]] = []


def before_the_first_word(prepare: Callable[[], object]) -> None:
    """Have something done before any logger says its first word; in place of what was to be.

    Args:
        prepare: may be called by several threads, and returns when it is done; then never again.
    """
    _before[:] = [prepare]


class Log:
    """A structlog logger of a name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        """Return `debug`, `info`, `warning`, `error` of the logger itself."""
        import structlog  # noqa: PLC0415 - as long as a tenth of a command

        for prepare in tuple(_before):
            prepare()
        _before.clear()
        return getattr(structlog.get_logger(self._name), method)
