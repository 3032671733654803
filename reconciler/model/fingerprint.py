"""Keyed fingerprints: how values are compared and remembered without being kept."""

import hashlib
import hmac
import json
import sys
from base64 import urlsafe_b64encode
from collections.abc import Mapping

from reconciler.model.values import ABSENT, Masked, Ref, Secret, UnknownRef, Value

_BYTES = 15  # 120 bits: no collision in any inventory, 20 characters of text


class Fingerprinter:
    """HMAC-SHA-256 over a canonical form of a value.

    Two values have one fingerprint exactly if Prefect would take them for the same: mappings
    without order, 1 and 1.0 alike, true and 1 apart, a secret like its plain value.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, value: Value) -> str:
        """Return the fingerprint of a value tree; thousands of equal ones share their memory."""
        text = json.dumps(
            canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True
        )
        digest = hmac.digest(self._key, text.encode(), hashlib.sha256)
        return sys.intern(urlsafe_b64encode(digest[:_BYTES]).decode())

    def __repr__(self) -> str:
        return "Fingerprinter()"


def canonical(value: Value) -> object:
    """Reduce a value tree to plain JSON with marks; secrets are revealed, so keep the result here."""
    if isinstance(value, Secret):
        return canonical(value.reveal())
    if isinstance(value, Mapping):
        return {str(key): canonical(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(inner) for inner in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return _mark(value)


def _mark(value: Value) -> object:
    if isinstance(value, Ref):
        return {"\0ref": str(value.key)}
    if isinstance(value, UnknownRef):
        return {"\0id": value.id}
    if isinstance(value, Masked):
        return {"\0masked": True}
    if value is ABSENT:
        return {"\0absent": True}
    if isinstance(value, int | float):
        return value
    raise TypeError(f"{type(value).__name__} is no value of a field")
