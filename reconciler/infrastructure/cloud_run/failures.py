"""What errors of Google's client mean for a launch."""

from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.errors import Overloaded, Unreachable
from reconciler.infrastructure.base import NotLaunchable, NotStarted

_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_UNAUTHORISED = 401
_CREDENTIALS = "check credentials: the key may be expired or deleted"


class Missing(NotStarted):
    """There is no such job."""


class Taken(NotStarted):
    """There is one of that name, or it was changed since it was read (its `etag`)."""


class Denied(NotStarted):
    """Google does not take our credentials, or they lack a permission."""


@contextmanager
def speaking() -> Iterator[None]:
    """Say what an error of the client means.

    Raises:
        Unreachable: Google does not answer.
        Denied: it does not take the credentials.
    """
    from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415 - an extra
    from google.auth.exceptions import (  # noqa: PLC0415 - an extra
        GoogleAuthError,
        RefreshError,
        TransportError,
    )
    from requests import RequestException  # noqa: PLC0415 - an extra
    from requests.exceptions import SSLError  # noqa: PLC0415 - an extra

    try:
        yield
    except GoogleAPICallError as error:
        raise meaning(int(error.code or 0), str(error.message or "")) from None
    except SSLError:
        text = (
            "Google's certificate is not trusted: name its authority by RECONCILER_PLATFORM_CA_FILE"
        )
        raise NotStarted(text) from None
    except (TransportError, RequestException, TimeoutError, OSError) as error:
        raise Unreachable(f"Cloud Run does not answer: {type(error).__name__}") from None
    except RefreshError as error:
        if error.retryable:
            raise Overloaded("Google's token service is busy") from None
        raise Denied(f"Google does not take our credentials; {_CREDENTIALS}") from None
    except GoogleAuthError as error:
        raise Denied(f"{_CREDENTIALS} ({type(error).__name__})") from None


def meaning(status: int, words: str) -> Exception:
    """Return the error of ours that a refusal means.

    Args:
        status: of HTTP.
        words: Google's own.
    """
    words = " ".join(words.split()) or f"HTTP {status}"
    if status in _BUSY:
        return Overloaded(f"Cloud Run is busy: {words}")
    if status == _UNAUTHORISED:
        return Denied(f"Cloud Run does not take our credentials: {words}; {_CREDENTIALS}")
    kind = {400: NotLaunchable, 403: Denied, 404: Missing, 409: Taken, 412: Taken}.get(
        status, NotStarted
    )
    return kind(f"Cloud Run refuses: {words}")
