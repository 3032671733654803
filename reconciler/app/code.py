"""Flow code for the agent: the commit that was applied last, as an immutable checkout."""

from pathlib import Path

import anyio

from reconciler.agent.code import Checkout
from reconciler.errors import SourceUnavailable
from reconciler.model.snapshot import Snapshot
from reconciler.runtime.clock import Clock
from reconciler.source.base import Source
from reconciler.source.checkouts import Checkout as SourceCheckout
from reconciler.source.checkouts import Checkouts

_ASK_SECONDS = 5.0


class AppliedCode:
    """The agent's code provider; the reconciler tells it what was applied.

    Keeps the checkouts that live runs refer to, and removes the others when the next one is made.
    """

    def __init__(self, checkouts: Checkouts, *, on_demand: bool = False) -> None:
        """Make it.

        Args:
            checkouts: where they are made.
            on_demand: check a revision out when a run first needs it, not when it is applied. Only
                for contents that stay readable, as those of a git repository do.
        """
        self._checkouts = checkouts
        self._on_demand = on_demand
        self._applied: Snapshot | None = None
        self._served: Snapshot | None = None
        self._current: Checkout | None = None
        self._digests: dict[Path, str] = {}
        self._in_use: frozenset[Path] = frozenset()
        self._turn = anyio.Lock()

    async def applied(self, snapshot: Snapshot) -> None:
        """Serve this snapshot from now on.

        Raises:
            SourceError: a file changed since the snapshot was taken.
            SourceUnavailable: the disk is full or refuses.
        """
        async with self._turn:
            self._applied = snapshot
            if not self._on_demand:
                await self._serve(snapshot)

    async def checkout(self) -> Checkout | None:
        """Return what was applied last, None before the first apply.

        Raises:
            SourceError, SourceUnavailable: as `applied`, where it is made on demand.
        """
        async with self._turn:
            if self._on_demand and self._applied is not None and not self._serves(self._applied):
                await self._serve(self._applied)
            return self._current

    def _serves(self, snapshot: Snapshot) -> bool:
        current = self._current
        return self._served is snapshot and current is not None and current.path.is_dir()

    async def _serve(self, snapshot: Snapshot) -> None:
        made = await self._make(snapshot)
        self._digests[made.path] = made.digest
        self._current, self._served = Checkout(made.path, made.revision), snapshot
        keep = {self._digests[p] for p in {made.path, *self._in_use} if p in self._digests}
        if self._in_use <= self._digests.keys():
            await self._checkouts.retain(keep)
            self._digests = {path: one for path, one in self._digests.items() if one in keep}

    async def _make(self, snapshot: Snapshot) -> SourceCheckout:
        try:
            return await self._checkouts.of(snapshot)
        except OSError as error:
            raise SourceUnavailable(
                f"the flow code can't be checked out: {error.strerror or error}",
                hint="RECONCILER_STATE_DIR is where checkouts are kept; look at its disk",
            ) from None

    def in_use(self, paths: frozenset[Path]) -> None:
        """Take note of the checkouts that live runs refer to."""
        self._in_use = paths


class FollowedCode:
    """The newest commit of a source, for an agent that runs without a reconciler beside it.

    The source is asked at each claim, though not more often than every few seconds; while its
    remote is away, what was there last is served.
    """

    def __init__(self, source: Source, checkouts: Checkouts, clock: Clock) -> None:
        self._source = source
        self._served = AppliedCode(checkouts)
        self._clock = clock
        self._asked: float | None = None
        self._turn = anyio.Lock()

    async def checkout(self) -> Checkout | None:
        """Return the newest commit's checkout.

        Raises:
            SourceError: it can't be read as given.
            SourceUnavailable: the remote is away, and nothing was read before.
        """
        async with self._turn:
            now = self._clock.monotonic()
            if self._asked is None or now - self._asked > _ASK_SECONDS:
                await self._refresh()
                self._asked = now
        return await self._served.checkout()

    async def _refresh(self) -> None:
        try:
            await self._served.applied(await self._source.fetch())
        except SourceUnavailable:
            if await self._served.checkout() is None:
                raise

    def in_use(self, paths: frozenset[Path]) -> None:
        """Take note of the checkouts that live runs refer to."""
        self._served.in_use(paths)
