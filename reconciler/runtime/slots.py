"""Slots: how many things may go on at a time."""

import anyio


class Slots:
    """A count of free places, with a wait for the next one.

    Unlike a semaphore it can be overdrawn: what already runs when the program starts takes its
    place whether or not one is free.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._taken = 0
        self._freed = anyio.Event()

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self._taken

    @property
    def free(self) -> int | None:
        """How many are free, never below zero; None means without limit."""
        return None if self._limit is None else max(0, self._limit - self._taken)

    def take(self) -> bool:
        """Take a slot if one is free."""
        if self.free == 0:
            return False
        self._taken += 1
        return True

    def overdraw(self) -> None:
        """Take a slot, free or not."""
        self._taken += 1

    def give_back(self) -> None:
        """Free a slot and wake those who wait."""
        self._taken -= 1
        self._freed.set()
        self._freed = anyio.Event()

    async def freed(self) -> None:
        """Wait until the next slot is given back."""
        await self._freed.wait()
