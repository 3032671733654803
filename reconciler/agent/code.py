"""Where the code of flows comes from, as far as the agent knows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Checkout:
    """An immutable folder with the files of one revision.

    Attributes:
        path: of the folder; what `$STORAGE_BASE_PATH` stands for in a deployment's `path`.
        revision: what it holds, for people.
    """

    path: Path
    revision: str


class CodeProvider(Protocol):
    """Serves flow code; the wiring hands one in, and the agent knows nothing of git."""

    async def checkout(self) -> Checkout | None:
        """Return the checkout of the last applied revision, None if there is none."""
        ...

    def in_use(self, paths: frozenset[Path]) -> None:
        """Take note of the checkouts that live runs refer to; they must be kept."""
        ...


class NoCode:
    """Serves nothing: deployments bring their own code."""

    async def checkout(self) -> Checkout | None:
        """Return None."""
        return None

    def in_use(self, paths: frozenset[Path]) -> None:
        """Take no note."""


class Checkouts:
    """Takes checkouts for runs, and tells the provider which are in use."""

    def __init__(self, provider: CodeProvider) -> None:
        self._provider = provider
        self._taken: dict[str, Path] = {}

    async def take(self, run_id: str) -> Checkout | None:
        """Take the present checkout for a run; it is kept until it is given back."""
        checkout = await self._provider.checkout()
        if checkout is not None:
            self._taken[run_id] = checkout.path
            self._provider.in_use(frozenset(self._taken.values()))
        return checkout

    def give_back(self, run_id: str) -> None:
        """End a run's use; a run that had none is fine."""
        if self._taken.pop(run_id, None) is not None:
            self._provider.in_use(frozenset(self._taken.values()))
