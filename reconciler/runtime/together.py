"""Doing several things at the same time."""

from collections.abc import Awaitable, Callable, Iterable
from itertools import chain, islice
from typing import TypeVar

import anyio

T = TypeVar("T")

AT_ONCE = 64
"""Calls under way: what a client's limits of reads and of writes let through, and no more, since
ten thousand calls that only wait for their turn take a hundred megabytes."""


async def together(calls: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
    """Run calls at the same time, all to their end; of many, begin in their order as others end.

    Returns:
        Their results, in the order of the calls.

    Raises:
        Exception: the first failure (by the order of the calls), as itself, once all have ended.
    """
    results: dict[int, T] = {}
    failures: dict[int, Exception] = {}
    waiting = enumerate(calls)
    first = list(islice(waiting, AT_ONCE))

    async def work(*begin: tuple[int, Callable[[], Awaitable[T]]]) -> None:
        for number, call in chain(begin, waiting):
            try:
                results[number] = await call()
            except Exception as error:  # noqa: BLE001 - raised below, when the others have ended
                failures[number] = error

    async with anyio.create_task_group() as group:
        for numbered in first:
            group.start_soon(work, numbered)
    if failures:
        raise failures[min(failures)]
    return [results[number] for number in sorted(results)]
