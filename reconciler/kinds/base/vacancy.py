"""Whether the names of objects to create are free, asked for several creates by one request.

A kind whose POST writes over what is there has to look before. The look should be near the write,
and a request for each costs a quarter of what the writes do (fifty deployments, Prefect 3.8.8: noted
by a proxy).
"""

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

import anyio

from reconciler.kinds.base import Session
from reconciler.model.keys import Key

SOME = 50
"""How many are asked for at a time: on a slow server some seconds before the last one's write."""

Ask = Callable[[Sequence[Key]], Awaitable[frozenset[Key]]]
"""Returns those of some keys that are surely free."""


async def is_free(session: Session, key: Key, ask: Ask) -> bool:
    """Tell whether a key is surely free; each answer is good for one create.

    Args:
        session: knows by `coming` which creates come next.
        key: about to be created.
        ask: the look-up; its failure is raised, and the next one asks again.

    Returns:
        False where it is taken, or where only a look-up of its own can tell.
    """
    free: set[Key] = session.cache.setdefault("free names", set())
    lock: anyio.Lock = session.cache.setdefault("free names, asking", anyio.Lock())
    async with lock:
        if key in session.coming:
            mine = (one for one in session.coming if one.kind == key.kind and one != key)
            some = [key, *islice(mine, SOME - 1)]
            free |= await ask(some)
            for one in some:
                session.coming.pop(one, None)
    was_free = key in free
    free.discard(key)
    return was_free
