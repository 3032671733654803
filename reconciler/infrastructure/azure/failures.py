"""What errors of Azure's clients mean for a launch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from reconciler.errors import Overloaded, Unreachable
from reconciler.infrastructure.base import NotLaunchable, NotStarted

_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _CHANGED = 401, 403, 404, 409, 412
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_WITHHELD = ("InaccessibleImage", "Quota", "NotAvailable", "Capacity", "RegistryErrorResponse")
"""Parts of the codes of refusals that no declaration can mend."""
_UNTRUSTED = "Azure's certificate is not trusted: name its authority by RECONCILER_PLATFORM_CA_FILE"
_CREDENTIALS = "check aci_credentials: the secret may have expired"


class Missing(NotStarted):
    """There is no such container group, or no such resource group."""


class Taken(NotStarted):
    """There is a container group of that name."""


class Denied(NotStarted):
    """Azure does not take our credentials, or they lack a permission."""


@contextmanager
def speaking(subscription: str) -> Iterator[None]:
    """Say what an error of the clients means. The subscription's id is a secret of the block.

    Raises:
        Unreachable: Azure does not answer.
        Transient, NotStarted, NotLaunchable: it refuses (`_meaning`).
    """
    from azure.core.exceptions import AzureError  # noqa: PLC0415 - an extra

    try:
        yield
    except AzureError as error:
        raise _failure(error, subscription) from None


def _failure(error: Exception, subscription: str) -> Exception:
    from azure.core.exceptions import (  # noqa: PLC0415 - an extra
        ClientAuthenticationError,
        HttpResponseError,
    )

    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return NotStarted(_UNTRUSTED)
    if isinstance(error, ClientAuthenticationError):
        words = _first_line(str(error.message)).replace(subscription, "***")
        return Denied(f"Azure does not take our credentials: {words}; {_CREDENTIALS}")
    if isinstance(error, HttpResponseError):
        code, words = _told(error)
        headers: Any = getattr(error.response, "headers", {})
        words = words.replace(subscription, "***")
        return _meaning(int(error.status_code or 0), code, words, headers)
    return Unreachable(f"Azure does not answer: {type(error).__name__}")


def _told(error: Any) -> tuple[str, str]:
    """Return code and message of a refusal."""
    inner = getattr(error, "error", None)
    code = str(getattr(inner, "code", "") or "")
    return code, str(getattr(inner, "message", "") or error.reason or "refused")


def _meaning(status: int, code: str, words: str, headers: Mapping[str, str]) -> Exception:
    text = f"{' '.join(words.split())} ({code or f'HTTP {status}'})"
    if status in _BUSY:
        wait = headers.get("Retry-After", "")
        return Overloaded(
            f"Azure is busy: {text}", retry_after=float(wait) if wait.isdigit() else None
        )
    if any(part in code for part in _WITHHELD):
        return NotStarted(f"Azure refuses: {text}")
    if status == _CONFLICT:
        return Overloaded(f"the container group is being changed: {text}")
    if status in {_UNAUTHORISED, _FORBIDDEN}:
        return Denied(f"Azure refuses: {text}")
    kind = {_NOT_FOUND: Missing, _CHANGED: Taken}.get(status, NotLaunchable)
    return kind(f"Azure refuses: {text}")


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason is given"
