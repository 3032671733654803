"""One request as a value, and its body: the place where secrets are revealed."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.model.values import Secret

_SHORTEST = 4
"""Shorter secrets are not searched for in texts: they would blacken every other word."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request below the root of the API.

    Attributes:
        method: in capitals.
        path: `/deployments/<id>`.
        params: of the query.
        body: JSON, encoded; never shown.
        repeatable: whether it may be sent again when its answer was lost.
        read: whether it only reads.
        hidden: texts that must not appear in any message.
        urgent: it is sent at once, beside the limit of concurrent requests.
    """

    method: str
    path: str
    params: Mapping[str, Any] | None = None
    body: bytes | None = field(default=None, repr=False)
    repeatable: bool = True
    read: bool = False
    hidden: tuple[str, ...] = field(default=(), repr=False)
    urgent: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def clean(self, text: str) -> str:
        """Take this request's secrets out of a text of the server's."""
        for secret in self.hidden:
            text = text.replace(secret, "***")
        return text


def encode(body: Any) -> tuple[bytes | None, tuple[str, ...]]:
    """Encode a body, in which `Secret` may stand anywhere.

    Returns:
        The JSON (None for no body), and the secret texts in it, the longest first.
    """
    if body is None:
        return None, ()
    found: set[str] = set()
    plain = _revealed(body, found)
    text = json.dumps(plain, separators=(",", ":"), allow_nan=False)
    return text.encode(), tuple(sorted(found, key=len, reverse=True))


def _revealed(value: Any, found: set[str]) -> Any:
    if isinstance(value, Secret):
        inner = value.reveal()
        found.update(_texts(inner))
        return _revealed(inner, found)
    if isinstance(value, Mapping):
        return {str(key): _revealed(inner, found) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_revealed(inner, found) for inner in value]
    return value


def _texts(value: object) -> Iterator[str]:
    """Yield the texts of a secret in the spellings that a server may echo."""
    if isinstance(value, Secret):
        yield from _texts(value.reveal())
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        text = str(value)
        spellings = {text, json.dumps(text)[1:-1], repr(text)[1:-1], *text.splitlines()}
        yield from (spelling for spelling in spellings if len(spelling) >= _SHORTEST)
