"""Launch tokens: transition ids that say who claimed.

A token is a UUID of version 8 (custom layout): its first half is a digest of the claimant's worker
name, its second half random. So any agent can tell from a PENDING run's `transition_id` whose it
is, without reading messages.
"""

import hashlib
import secrets
import uuid
from collections.abc import Iterable

_VERSION = 8
_HALF = 8


def new_token(worker: str) -> str:
    """Make a launch token for a worker."""
    raw = bytearray(_digest(worker) + secrets.token_bytes(_HALF))
    raw[6] = (raw[6] & 0x0F) | (_VERSION << 4)
    raw[8] = (raw[8] & 0x3F) | 0x80
    return str(uuid.UUID(bytes=bytes(raw)))


def is_token(transition_id: str | None) -> bool:
    """Tell whether a transition id was made by an agent of this program."""
    if transition_id is None:
        return False
    return uuid.UUID(transition_id).version == _VERSION


def claimant(token: str, workers: Iterable[str]) -> str | None:
    """Return which of the workers made a token, None if it was none of them."""
    half = uuid.UUID(token).bytes[:_HALF]
    return next((w for w in workers if uuid.UUID(new_token(w)).bytes[:_HALF] == half), None)


def _digest(worker: str) -> bytes:
    return hashlib.sha256(worker.encode()).digest()[:_HALF]
