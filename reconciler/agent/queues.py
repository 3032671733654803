"""The pool and the queues that an agent serves."""

from reconciler.agent.options import AgentOptions
from reconciler.api import pools
from reconciler.api.client import Api
from reconciler.errors import UsageError
from reconciler.runtime.clock import Clock

_KEPT = 30.0
"""Seconds for which the names of a pool's queues are kept (as Prefect's agent does: facts)."""


class Queues:
    """Knows which queues of the pool to ask for runs."""

    def __init__(self, api: Api, options: AgentOptions, clock: Clock) -> None:
        self._api = api
        self._options = options
        self._clock = clock
        self._known: frozenset[str] = frozenset()
        self._known_at: float | None = None

    async def prepare(self) -> None:
        """Make sure that the pool exists and is one for agents.

        Raises:
            UsageError: it is of another type.
        """
        pool = self._options.pool
        kind = await pools.pool_type(self._api, pool)
        if kind is None:
            await pools.create_agent_pool(self._api, pool)
        elif kind != pools.AGENT_POOL_TYPE:
            raise UsageError(
                f"the work pool {pool!r} is of the type {kind!r}; agents serve those of the type "
                f"{pools.AGENT_POOL_TYPE!r}",
                hint=f"start a Prefect worker for it: prefect worker start --pool {pool!r}",
            )

    async def names(self) -> tuple[str, ...] | None:
        """Return the queues to ask; None means all of the pool, () that there is none yet.

        Explicit queues that are missing are created, as Prefect's agent does. Those that the
        repository declares come to be with their deployments, so a missing one just waits.
        """
        options = self._options
        if not options.queues and not options.match and options.declared is None:
            return None
        if options.queues and not self._all_known(options.queues):
            await self._look()
            for name in sorted(set(options.queues) - self._known):
                await pools.create_queue(self._api, options.pool, name)
            self._known |= set(options.queues)
        wanted = () if options.queues or options.match else self._declared()
        if options.match or not self._all_known(wanted):
            await self._look()
        matching = {
            name for name in self._known if options.match and name.startswith(options.match)
        }
        return tuple(sorted({*options.queues, *matching, *(set(wanted) & self._known)}))

    def serves(self, name: str | None) -> bool:
        """Tell whether a queue is one of those asked last."""
        options = self._options
        if not options.queues and not options.match and options.declared is None:
            return True
        declared = () if options.queues or options.match else self._declared()
        return name is not None and (
            name in options.queues
            or bool(options.match and name.startswith(options.match))
            or name in declared
        )

    def forget(self) -> None:
        """Look again next time: a queue that was known is gone."""
        self._known_at = None

    def _declared(self) -> tuple[str, ...]:
        return () if self._options.declared is None else self._options.declared()

    def _all_known(self, names: tuple[str, ...]) -> bool:
        return self._known_at is not None and set(names) <= self._known

    async def _look(self) -> None:
        now = self._clock.monotonic()
        if self._known_at is None or now - self._known_at > _KEPT:
            self._known = frozenset(await pools.queue_names(self._api, self._options.pool))
            self._known_at = now
