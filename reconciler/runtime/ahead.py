"""Making the next thing while somebody looks at the last one."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

T = TypeVar("T")

_GOES_OUT = 0.003
"""Seconds that the next question is given to get out, before whoever looks at an answer computes."""


@asynccontextmanager
async def owned() -> AsyncIterator[TaskGroup]:
    """Own tasks for a while, and cancel those that are left; what is raised meanwhile stays itself."""
    failure: BaseException | None = None
    async with anyio.create_task_group() as group:
        try:
            yield group
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001 - raised below, where no group wraps it
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure


class Ahead(Generic[T]):
    """Items of a generator, made before they are wanted, by a task that a group owns."""

    def __init__(
        self,
        group: TaskGroup,
        source: Callable[[], AsyncGenerator[T]],
        given_up: Exception,
        *,
        waiting: int = 0,
    ) -> None:
        """Begin with the first one.

        Args:
            group: owns the task.
            source: makes the items; its failure is raised by `items`.
            given_up: raised where there will be no more items, though they are not all.
            waiting: how many of them may wait, beside the one that is made next.
        """
        self._source = source
        self._given_up = given_up
        self._made, self._wanted = anyio.create_memory_object_stream[T](waiting)
        self._ended = anyio.Event()
        self._failure: Exception | None = given_up
        self._scope = anyio.CancelScope()
        try:
            group.start_soon(self._make)
        except RuntimeError:  # the group has ended
            self._made.close()
            self._ended.set()

    async def _make(self) -> None:
        try:
            with self._scope, self._made:
                async with aclosing(self._source()) as items:
                    async for item in items:
                        await self._made.send(item)
                self._failure = None
        except Exception as error:  # noqa: BLE001 - raised by `items`
            self._failure = error
        finally:
            self._ended.set()

    async def under_way(self) -> None:
        """Let the next question get out."""
        with anyio.move_on_after(_GOES_OUT):
            await self._ended.wait()

    def drop(self) -> None:
        """Make no more of them, and forget those that wait."""
        self._scope.cancel()
        self._wanted.close()

    async def items(self) -> AsyncGenerator[T]:
        """Yield them all, once; while one is looked at, the next is made.

        Raises:
            Exception: what the source raised; or what stands for the end of its group.
        """
        try:
            async for item in self._wanted:
                await self.under_way()
                yield item
            await self._ended.wait()
            if self._failure is not None:
                raise self._failure
        finally:
            self.drop()
