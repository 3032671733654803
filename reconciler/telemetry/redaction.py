"""Takes secrets out of what is logged.

The first line of defence is `Secret`, which shows itself to nobody. This is the second, for what
other people's code logs and for what slips through.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import SecretBytes, SecretStr
from structlog.typing import EventDict

from reconciler.model.values import Masked, Secret

MARK = "***"

_DEEPEST = 8

_SECRET_KEY = re.compile(
    r"(pass(word|wd|phrase)?$|secret|token|credential|cookie|private_?key|access_?key|api_?key"
    r"|account_?key|connection_?string|signature|(^|[_-])auth(orization|_string)?$)",
    re.IGNORECASE,
)
_IN_TEXT = (
    (re.compile(r"(://)[^/\s'\"]+@"), rf"\1{MARK}@"),  # https://user:pass@word@host
    (
        # Words follow too ("Basic authentication"): credentials have capitals, digits or signs.
        re.compile(r"\b(Bearer|Basic)(\s+)(?=\S*[A-Z0-9=+/_~])[A-Za-z0-9._~+/=-]{6,}"),
        rf"\1\2{MARK}",
    ),
    (re.compile(r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?)(?!B)[^\s'\",]+"), rf"\1{MARK}"),
    (
        re.compile(
            r"([?&](?:access_token|api_key|code|key|sig|signature|token|X-Amz-Signature)=)[^&\s]+"
        ),
        rf"\1{MARK}",
    ),
    # Prefect, GitHub, GitLab, Slack and AWS mark their keys.
    (
        re.compile(
            r"\b(?:pn[ub]_|gh[pousr]_|github_pat_|glpat-|xox[abprs]-)[A-Za-z0-9_-]{8,}"
            r"|\bAKIA[A-Z0-9]{16}\b"
        ),
        MARK,
    ),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|$)", re.DOTALL),
        MARK,
    ),
)


def redact(value: Any, key: str = "", depth: int = 0) -> Any:
    """Return a value as it may be logged: JSON, without secrets.

    Args:
        value: anything.
        key: the name that it stands under; some names are secret whatever the value.
        depth: how deep it lies; what lies too deep is shown by its type only.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Secret | Masked | SecretStr | SecretBytes) or _SECRET_KEY.search(key):
        return MARK
    if isinstance(value, int | float):
        return value
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _container(value, depth)
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    return redact_text(str(value))


def redact_text(text: str) -> str:
    """Take out of a text what looks like a credential."""
    for pattern, replacement in _IN_TEXT:
        text = pattern.sub(replacement, text)
    return text


def redact_event(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Do so for a log event; a structlog processor."""
    return {key: redact(value, key) for key, value in event.items()}


def _container(value: Any, depth: int) -> Any:
    if depth >= _DEEPEST:
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping):
        return {str(k): redact(inner, str(k), depth + 1) for k, inner in value.items()}
    return [redact(inner, "", depth + 1) for inner in value]
