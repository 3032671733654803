"""One attempt of a call, and the words for what went wrong."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from reconciler.api import retry
from reconciler.api.answers import Answer, explanation
from reconciler.api.calls import Call
from reconciler.api.retry import Fate
from reconciler.errors import Overloaded, ReconcilerError, Unreachable

_SERVER_ERROR = 500
_MISTAKES = (httpx.LocalProtocolError, httpx.DecodingError)
"""What the same request meets each time: our headers, or an answer that is not what it says."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt ended: with an answer or with an error of the connection.

    Attributes:
        fate: what became of the request.
        answer: None where the connection failed.
        error: None where there is an answer.
        retry_after: seconds, where the server said so.
    """

    fate: Fate
    answer: Answer | None = None
    error: Exception | None = None
    retry_after: float | None = None

    @property
    def outcome(self) -> str:
        """A word for metrics: the status, `no connection` or `lost`."""
        if self.answer is not None:
            return str(self.answer.status)
        return "no connection" if self.unconnected else "lost"

    @property
    def overload(self) -> bool:
        """Whether it shows that the server has too much to do."""
        if self.answer is None:
            return self.fate is Fate.UNKNOWN
        return self.answer.status in retry.OVERLOAD

    @property
    def unconnected(self) -> bool:
        """Whether there was no connection at all."""
        return self.answer is None and self.fate is Fate.NOT_TAKEN

    @property
    def limited(self) -> bool:
        """Whether the server limits how often we may ask."""
        return self.answer is not None and self.answer.status == httpx.codes.TOO_MANY_REQUESTS

    @property
    def broken_server(self) -> bool:
        """Whether the server itself failed over the request."""
        return (
            self.answer is not None
            and self.answer.status >= _SERVER_ERROR
            and self.answer.status not in retry.OVERLOAD
        )

    @property
    def permanent(self) -> bool:
        """Whether it is no use to try again: a certificate does not mend itself."""
        if isinstance(self.error, _MISTAKES):
            return True
        return any(isinstance(c, ssl.SSLCertVerificationError) for c in _causes(self.error))

    def reason(self, call: Call) -> str:
        """Say what went wrong, in a few words, without secrets."""
        if self.answer is not None:
            detail = explanation(self.answer.content, call.clean)
            return f"the server answers {self.answer.status}" + (f": {detail}" if detail else "")
        if isinstance(self.error, TimeoutError | httpx.TimeoutException):
            return "no answer in time"
        if isinstance(self.error, httpx.LocalProtocolError):
            return "it can't be sent: it breaks the rules of HTTP"  # its own words quote headers
        return next((text for c in _causes(self.error) if (text := _said(c))), "broken off")

    def hint(self) -> str:
        """Say what to look at when there is no connection."""
        if self.permanent:
            return "name the authority that signed the certificate with PREFECT_API_SSL_CERT_FILE"
        if any(isinstance(cause, ssl.SSLError) for cause in _causes(self.error)):
            return "does the server speak https at all?"
        return "is the server running, and is PREFECT_API_URL its address?"


@dataclass(slots=True)
class Progress:
    """One call's attempts so far.

    Attributes:
        tries: how many.
        spent: seconds, without the time spent waiting for a slot.
        lost: one of them may have been carried out though its answer was lost.
        token: the CSRF token that was sent last.
    """

    tries: int = 0
    spent: float = 0.0
    lost: bool = False
    token: str | None = None


def given_up(call: Call, progress: Progress, last: Attempt, url: str) -> ReconcilerError:
    """Make the error of a call that got no good answer."""
    times = "once" if progress.tries == 1 else f"{progress.tries} times in {progress.spent:.0f} s"
    reason = f"{last.reason(call)} (tried {times})"
    if last.unconnected:
        return Unreachable(f"{call}: no connection to {url}: {reason}", hint=last.hint())
    return Overloaded(
        f"{call}: {reason}", retry_after=last.retry_after, hint="the server's own log says why"
    )


def _said(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the innermost cause first: it has the words of the operating system."""
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    yield from reversed(chain)
