"""Keyed fingerprints: how values are compared and remembered without being kept."""

import hmac
import json
import sys
from base64 import urlsafe_b64encode

from reconciler.model.values import ABSENT, Masked, Ref, Secret, UnknownRef, Value, is_mapping

_BYTES = 15  # 120 bits: no collision in any inventory, 20 characters of text
_PLAIN = frozenset({str, bool, int, type(None)})
"""Types of most leaves, looked up first: of 10,000 resources a quarter of a million are printed."""
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


class Fingerprinter:
    """HMAC-SHA-256 over a canonical form of a value.

    Two values have one fingerprint exactly if Prefect would take them for the same: mappings
    without order, 1 and 1.0 alike, true and 1 apart, a secret like its plain value.
    """

    __slots__ = ("_key", "absent")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.absent = self.of(ABSENT)
        """The fingerprint of what is not there."""

    def of(self, value: Value) -> str:
        """Return the fingerprint of a value tree; thousands of equal ones share their memory."""
        digest = hmac.digest(self._key, _text(value).encode(), "sha256")
        return sys.intern(urlsafe_b64encode(digest[:_BYTES]).decode())

    def __repr__(self) -> str:
        return "Fingerprinter()"


def same(before: Value, after: Value) -> bool:
    """Tell whether two values have one fingerprint, without making it."""
    return before is after or _text(before) == _text(after)


def _text(value: Value) -> str:
    return _encode(canonical(value))


def canonical(value: Value) -> object:
    """Reduce a value tree to plain JSON with marks; secrets are revealed, so keep the result here."""
    if type(value) in _PLAIN or isinstance(value, str):
        return value
    if isinstance(value, Secret):
        return canonical(value.reveal())
    if is_mapping(value):
        return {str(key): canonical(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(inner) for inner in value]
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
