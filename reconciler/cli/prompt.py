"""Questions on a terminal."""

import sys

import anyio

from reconciler.cli import console
from reconciler.errors import UsageError


def require_terminal(hint: str) -> None:
    """See that somebody can be asked.

    Args:
        hint: what to do where nobody can.

    Raises:
        UsageError: there is no terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", hint=hint)


async def ask(question: str) -> str:
    """Ask, and return the line typed, "" at its end. Ctrl-C ends the wait, as it must.

    A blocking read would not be ended: asyncio turns the first Ctrl-C into a cancellation.

    Args:
        question: with rich markup.
    """
    console.err().print(question, end="")
    await anyio.wait_readable(sys.stdin.fileno())
    return sys.stdin.readline().strip()
