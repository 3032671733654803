"""Sends one call: slots, repeats, deadline, CSRF. What an answer means is not known here."""

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from uuid import uuid4

import anyio
import httpx

from reconciler.api import retry
from reconciler.api.answers import Answer, explanation, result
from reconciler.api.calls import Call
from reconciler.api.limits import Limiter, Slot
from reconciler.api.retry import Fate
from reconciler.api.server_clock import ServerClock
from reconciler.errors import AnswerLost, NotPrefect, Overloaded, ReconcilerError, Unreachable
from reconciler.runtime.backoff import Backoff
from reconciler.runtime.clock import Clock

Observer = Callable[[str, str, float], None]
"""Told of each attempt: method, outcome (the status, or `lost`, or `no connection`), seconds."""

_FIRST_CONTACT = 5.0
"""Seconds after which a server that never answered counts as not there."""

_LARGEST = 64 * 1024 * 1024
"""Bytes of an answer: a page of 200 deployments with large schemas has some 20 MB."""

_SERVER_ERROR = 500


@dataclass(slots=True)
class RequestCounts:
    """Requests made so far, repeats included."""

    reads: int = 0
    writes: int = 0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call is tried.

    Attributes:
        attempt: seconds for one attempt.
        deadline: seconds for all attempts and the waits between them.
    """

    attempt: float = 60.0
    deadline: float = 120.0


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How one attempt ended: with an answer or with an error of the connection."""

    fate: Fate
    answer: Answer | None = None
    error: Exception | None = None
    retry_after: float | None = None

    @property
    def outcome(self) -> str:
        if self.answer is not None:
            return str(self.answer.status)
        return "no connection" if self.fate is Fate.NOT_TAKEN else "lost"

    @property
    def overload(self) -> bool:
        if self.answer is None:
            return self.fate is Fate.UNKNOWN
        return self.answer.status in retry.OVERLOAD


@dataclass(slots=True)
class _Progress:
    """One call's attempts so far."""

    tries: int = 0
    spent: float = 0.0
    lost: bool = False


@dataclass(slots=True)
class _Csrf:
    """The token that a server with CSRF protection wants on writes (facts: auth, TLS, Cloud)."""

    enabled: bool = True
    client: str = field(default_factory=lambda: str(uuid4()))
    token: str | None = None
    lock: anyio.Lock = field(default_factory=anyio.Lock)

    def headers(self) -> dict[str, str]:
        if self.token is None:
            return {}
        return {"Prefect-Csrf-Token": self.token, "Prefect-Csrf-Client": self.client}

    def demanded(self, answer: Answer) -> bool:
        """Whether a 403 is about the token: only its text tells."""
        forbidden = answer.status == httpx.codes.FORBIDDEN
        return self.enabled and forbidden and "csrf" in explanation(answer.content).lower()


class Sender:
    """Sends calls to one server.

    Attributes:
        counts: requests so far.
        server_clock: the server's time.
    """

    def __init__(
        self, http: httpx.AsyncClient, clock: Clock, patience: Patience, *, csrf: bool = True
    ) -> None:
        self.counts = RequestCounts()
        self.server_clock = ServerClock(clock)
        self.observer: Observer = lambda _method, _outcome, _seconds: None
        self._http = http
        self._clock = clock
        self._patience = patience
        self._csrf = _Csrf(csrf)
        self._limiter = Limiter()
        self._backoff = Backoff()
        self._heard = False

    async def send(self, call: Call) -> Answer:
        """Send a call until it is answered.

        Raises:
            AnswerLost: it must not be repeated, and nobody knows what became of it.
            Unreachable: no connection.
            Overloaded: no good answer before the deadline.
            NotPrefect: the answer is larger than any of Prefect's.
        """
        progress = _Progress()
        delays = self._backoff.delays()
        renewed = False
        while True:
            token = self._csrf.token
            attempt = await self._attempt(call, progress)
            answer = attempt.answer
            if answer is not None and not renewed and self._csrf.demanded(answer):
                await self._renew(token)
                renewed = True
            elif answer is not None and attempt.fate is Fate.ANSWERED:
                return replace(answer, lost=progress.lost)
            else:
                await self._wait(call, progress, attempt, delays)

    async def _wait(
        self, call: Call, progress: _Progress, attempt: _Attempt, delays: Iterator[float]
    ) -> None:
        """Wait until the call may be sent again, or raise if it may not."""
        if attempt.fate is Fate.UNKNOWN:
            if not call.repeatable:
                raise AnswerLost(f"{call}: {_reason(call, attempt)}; it may have been carried out")
            progress.lost = True
        delay = next(delays)
        if attempt.retry_after is not None:
            delay = max(attempt.retry_after, attempt.retry_after + delay - self._backoff.first)
        if self._hopeless(progress, attempt, delay):
            raise self._given_up(call, progress, attempt)
        await self._clock.sleep(delay)
        progress.spent += delay

    def _hopeless(self, progress: _Progress, attempt: _Attempt, delay: float) -> bool:
        broken = (
            attempt.answer is not None
            and attempt.answer.status >= _SERVER_ERROR
            and attempt.answer.status not in retry.OVERLOAD
        )
        if broken and progress.tries >= retry.BROKEN_ATTEMPTS:
            return True
        if attempt.error is not None and _certificate(attempt.error) is not None:
            return True
        deadline = self._patience.deadline
        if attempt.answer is None and attempt.fate is Fate.NOT_TAKEN and not self._heard:
            deadline = min(deadline, _FIRST_CONTACT)
        return progress.spent + delay > deadline

    def _given_up(self, call: Call, progress: _Progress, attempt: _Attempt) -> ReconcilerError:
        tried = f"tried {progress.tries} times in {progress.spent:.0f} s"
        reason = _reason(call, attempt)
        if attempt.answer is None and attempt.fate is Fate.NOT_TAKEN:
            return Unreachable(
                f"{call}: no connection to {self._http.base_url}: {reason} ({tried})",
                hint=_connection_hint(attempt.error),
            )
        return Overloaded(
            f"{call}: {reason} ({tried})",
            retry_after=attempt.retry_after,
            hint="the server's own log says why",
        )

    async def _attempt(self, call: Call, progress: _Progress) -> _Attempt:
        async with self._limiter.slot() as slot:
            begun = self._clock.monotonic()
            self._count(call)
            progress.tries += 1
            try:
                attempt = await self._exchange(call, progress, begun)
            except (httpx.RequestError, TimeoutError) as error:
                attempt = _Attempt(retry.fate_of_error(error), error=error)
            took = self._clock.monotonic() - begun
            progress.spent += took
            self._note(slot, attempt)
            self.observer(call.method, attempt.outcome, took)
            return attempt

    async def _exchange(self, call: Call, progress: _Progress, begun: float) -> _Attempt:
        headers = {} if call.read else self._csrf.headers()
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        left = max(1.0, self._patience.deadline - progress.spent)
        with anyio.fail_after(min(self._patience.attempt, left)):
            async with self._http.stream(
                call.method, call.path, params=call.params, content=call.body, headers=headers
            ) as response:
                self.server_clock.learn(response.headers.get("date"), begun)
                content = await _read(call, response)
        answer = Answer(response.status_code, dict(response.headers), content)
        return _Attempt(
            retry.fate_of_status(answer.status),
            answer,
            retry_after=retry.retry_after(
                answer.headers.get("retry-after"), self.server_clock.now()
            ),
        )

    def _note(self, slot: Slot, attempt: _Attempt) -> None:
        slot.overloaded = attempt.overload
        slot.answered = attempt.fate is Fate.ANSWERED
        self._heard = self._heard or attempt.answer is not None

    def _count(self, call: Call) -> None:
        if call.read:
            self.counts.reads += 1
        else:
            self.counts.writes += 1

    async def _renew(self, used: str | None) -> None:
        """Fetch a token, unless another call did so since `used` was sent."""
        async with self._csrf.lock:
            if self._csrf.token != used:
                return
            call = Call("GET", "/csrf-token", {"client": self._csrf.client}, read=True)
            body = result(call, await self.send(call))
            token = body.get("token") if isinstance(body, dict) else None
            if not isinstance(token, str):
                raise NotPrefect(f"{call}: the answer holds no token")
            self._csrf.token = token


async def _read(call: Call, response: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _LARGEST:
            raise NotPrefect(f"{call}: the answer is larger than {_LARGEST // 2**20} MiB")
    return bytes(content)


def _reason(call: Call, attempt: _Attempt) -> str:
    if attempt.answer is not None:
        detail = call.clean(explanation(attempt.answer.content))
        return f"the server answers {attempt.answer.status}" + (f": {detail}" if detail else "")
    error = attempt.error
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "no answer in time"
    return next((text for cause in _causes(error) if (text := _said(cause))), "broken off")


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


def _certificate(error: Exception) -> ssl.SSLCertVerificationError | None:
    return next((c for c in _causes(error) if isinstance(c, ssl.SSLCertVerificationError)), None)


def _connection_hint(error: Exception | None) -> str:
    if error is not None and _certificate(error) is not None:
        return "name the authority that signed the certificate with PREFECT_API_SSL_CERT_FILE"
    return "is the server running, and is PREFECT_API_URL its address?"
