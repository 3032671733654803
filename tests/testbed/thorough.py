"""How thorough a run is: CI takes a part of what is tried at every place, `make thorough` all of it.

`RECONCILER_THOROUGH=1` says so. What CI leaves out in one case it tries in another: the parts of a
test's cases differ, so that together they come to every place.
"""

import os
import zlib
from collections.abc import Iterable

THOROUGH = os.environ.get("RECONCILER_THOROUGH") == "1"


def places(most: int, *case: object, part: int = 4) -> Iterable[int]:
    """Return the numbers of the places, from 1, at which a case of a test is to break something.

    Args:
        most: the number after the last.
        case: what tells this case from the test's other ones.
        part: one of how many places is taken where a run is not thorough.
    """
    if THOROUGH:
        return range(1, most)
    return range(1 + zlib.crc32(repr(case).encode()) % part, most, part)


def often(thorough: int, otherwise: int) -> int:
    """Return how often something is to be repeated."""
    return thorough if THOROUGH else otherwise
