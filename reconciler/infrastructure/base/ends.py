"""Ends that one watcher learns and many runs wait for."""

import anyio

from reconciler.model.launch import Ended


class Ends:
    """Hands what a backend's one watcher learns to those who wait for it, by launch token.

    An end that comes before anybody waits is kept until it is asked for.
    """

    def __init__(self) -> None:
        self._ends: dict[str, Ended] = {}
        self._waiting: dict[str, anyio.Event] = {}

    @property
    def awaited(self) -> tuple[str, ...]:
        """Tokens of the launches that somebody waits for and whose end isn't known yet."""
        return tuple(token for token in self._waiting if token not in self._ends)

    def tell(self, token: str, ended: Ended) -> None:
        """Say that a launch ended; the first word on it counts."""
        self._ends.setdefault(token, ended)
        if token in self._waiting:
            self._waiting[token].set()

    async def wait(self, token: str) -> Ended:
        """Wait for the end of a launch; may be cancelled and asked again."""
        event = self._waiting.setdefault(token, anyio.Event())
        if token in self._ends:
            event.set()
        await event.wait()
        return self._ends[token]

    def forget(self, token: str) -> None:
        """Drop what is known of a launch."""
        self._ends.pop(token, None)
        self._waiting.pop(token, None)
