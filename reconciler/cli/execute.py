"""Run a command's coroutine, and turn every error into words and an exit code."""

import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from reconciler.cli.exits import FAILED, INTERRUPTED, USAGE, finish
from reconciler.errors import ReconcilerError, UsageError
from reconciler.runtime import memory

T = TypeVar("T")


def execute(
    work: Callable[..., Coroutine[Any, Any, T]] | Callable[..., Awaitable[T]],
    *args: Any,
    imports: bool = False,
) -> T:
    """Run a coroutine function to its end.

    Args:
        work: the function.
        args: its own.
        imports: it imports more, and calls `memory.started` itself then.

    Raises:
        Finished: with 1 or 64 after an error of ours has been explained on stderr, with 130 after
            Ctrl-C.
    """
    import anyio

    ended: list[T] = []

    async def run() -> None:
        # Not returned: Python 3.11's runner writes out how its task ended, for a message that
        # nobody reads (`signal.getsignal`), and ten thousand resources take it a second.
        ended.append(await work(*args))

    if not imports:
        memory.started()
    try:
        anyio.run(run)
    except BaseExceptionGroup as group:
        error = _first(group)
        if error is None:
            raise
        _fail(error)
    except ReconcilerError as error:
        _fail(error)
    except KeyboardInterrupt:
        # typer would end without a word
        sys.stderr.write("\nInterrupted.\n")
        finish(INTERRUPTED)
    return ended[0]


def guarded(work: Callable[..., T], *args: Any) -> T:
    """Run a plain function likewise."""
    try:
        return work(*args)
    except ReconcilerError as error:
        _fail(error)


def _fail(error: ReconcilerError) -> NoReturn:
    from reconciler.cli.console import explain

    explain(error)
    finish(USAGE if isinstance(error, UsageError) else FAILED)


def _first(group: BaseExceptionGroup[BaseException]) -> ReconcilerError | None:
    """Return the error that explains a group: task groups wrap what their tasks raise."""
    ours, others = group.split(ReconcilerError)
    if ours is None or (others is not None and others.subgroup(Exception) is not None):
        return None
    leaf: BaseException = ours
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf if isinstance(leaf, ReconcilerError) else None
