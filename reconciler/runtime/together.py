"""Doing several things at the same time."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

T = TypeVar("T")


async def together(calls: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
    """Run calls at the same time, all to their end.

    Returns:
        Their results, in the order of the calls.

    Raises:
        Exception: the first failure (by the order of the calls), as itself, once all have ended.
    """
    results: dict[int, T] = {}
    failures: dict[int, Exception] = {}

    async def run(number: int, call: Callable[[], Awaitable[T]]) -> None:
        try:
            results[number] = await call()
        except Exception as error:  # noqa: BLE001 - raised below, when the others have ended
            failures[number] = error

    async with anyio.create_task_group() as group:
        for number, call in enumerate(calls):
            group.start_soon(run, number, call)
    if failures:
        raise failures[min(failures)]
    return [results[number] for number in sorted(results)]
