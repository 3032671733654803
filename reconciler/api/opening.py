"""Connecting in the background, while something else is done."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from reconciler.api.client import Api
from reconciler.errors import Unreachable


class Opening:
    """A connection to the API on its way, in a task that its group owns; for one user."""

    def __init__(
        self,
        group: TaskGroup,
        connection: AbstractAsyncContextManager[Api],
        expected: Callable[[Api], None],
    ) -> None:
        """Begin.

        Args:
            group: owns the task, and outlives the connection's use.
            connection: by `connect`, not entered yet.
            expected: asks the new connection ahead for what will be wanted (`Api.foresee`).
        """
        self._connection, self._expected = connection, expected
        self._api: Api | None = None
        self._failure: Exception | None = None
        self._open, self._used, self._closed = anyio.Event(), anyio.Event(), anyio.Event()
        self.taken = False
        """Whether somebody has used it: then it is closed."""
        group.start_soon(self._hold)

    async def _hold(self) -> None:
        try:
            async with self._connection as api:
                self._expected(api)
                self._api = api
                self._open.set()
                await self._used.wait()
        except Exception as error:  # noqa: BLE001 - raised by `take`
            self._failure = error
        finally:
            self._open.set()
            self._closed.set()

    @asynccontextmanager
    async def take(self) -> AsyncIterator[Api]:
        """Wait for the connection, use it for the time of the block, and close it.

        Raises:
            ReconcilerError: as `connect`.
        """
        self.taken = True
        await self._open.wait()
        if self._failure is not None:
            raise self._failure
        if self._api is None:
            raise Unreachable("the connection was closed meanwhile")
        try:
            yield self._api
        finally:
            self._used.set()
            await self._closed.wait()
