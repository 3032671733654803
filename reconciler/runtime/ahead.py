"""Asking for the next thing while somebody looks at the last one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

T = TypeVar("T")

_GOES_OUT = 0.003
"""Seconds that a question is given to get out, before whoever looks at the last answer computes."""


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


class Asked(Generic[T]):
    """A question on its way, in a task that its group owns; its failure waits for whoever asks for it."""

    def __init__(
        self, group: TaskGroup, question: Callable[[], Awaitable[T]], given_up: Exception
    ) -> None:
        """Ask.

        Args:
            group: owns the task.
            question: what is asked.
            given_up: raised where there will be no answer any more.
        """
        self._question = question
        self._given_up = given_up
        self._ended = anyio.Event()
        self._answers: list[T] = []
        self._failure: Exception | None = None
        self._scope = anyio.CancelScope()
        group.start_soon(self._ask)

    async def _ask(self) -> None:
        try:
            with self._scope:
                self._answers.append(await self._question())
        except Exception as error:  # noqa: BLE001 - raised by `answer`
            self._failure = error
        finally:
            self._ended.set()

    async def sent(self) -> None:
        """Let it get out."""
        with anyio.move_on_after(_GOES_OUT):
            await self._ended.wait()

    def give_up(self) -> None:
        """End it: nobody wants the answer."""
        self._scope.cancel()

    async def answer(self) -> T:
        """Wait for the answer.

        Raises:
            Exception: what the question raised; or what stands for its having been given up, or for
                the end of its group.
        """
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure
        if not self._answers:
            raise self._given_up
        return self._answers[0]
