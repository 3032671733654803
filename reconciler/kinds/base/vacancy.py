"""Whether the names of objects to create are free, asked for several creates by one request.

A kind whose POST writes over what is there has to look before. The look should be near the write,
and a request for each costs a quarter of what the writes do (fifty deployments, Prefect 3.8.8: noted
by a proxy).
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from itertools import islice

from reconciler.kinds.base import Lot, Session
from reconciler.model.keys import Key

SOME = 50
"""How many are asked for at a time: on a slow server some seconds before the last one's write."""

Ask = Callable[[Lot], Awaitable[frozenset[Key]]]
"""Returns those of some keys that are surely free."""


def lots(keys: Iterable[Key]) -> dict[Key, Lot]:
    """Tell for each key together with which others it is to be asked for: neighbours of its kind."""
    by_kind: dict[str, list[Key]] = {}
    for key in keys:
        by_kind.setdefault(key.kind, []).append(key)
    return {key: lot for same in by_kind.values() for lot in _batches(same) for key in lot}


def _batches(keys: Iterable[Key]) -> Iterator[Lot]:
    left = iter(keys)
    while lot := tuple(islice(left, SOME)):
        yield lot


async def is_free(session: Session, key: Key, ask: Ask) -> bool:
    """Tell whether a key is surely free; each answer is good for one create.

    Args:
        session: knows by `coming` what is asked for together.
        key: about to be created.
        ask: the look-up; its failure is raised, and the next one asks again.

    Returns:
        False where it is taken, or where only a look-up of its own can tell.
    """
    lot = session.coming.pop(key, None)
    return lot is not None and key in await session.once(lot, partial(ask, lot))
