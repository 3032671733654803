"""Sends one call: slots, repeats, deadline, CSRF. What an answer means is not known here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from uuid import uuid4

import anyio
import httpx

from reconciler.api import retry
from reconciler.api.answers import Answer, explanation, result
from reconciler.api.attempts import Attempt, Progress, given_up
from reconciler.api.calls import Call
from reconciler.api.limits import Aimd, Limiter, Slot
from reconciler.api.retry import Fate
from reconciler.api.server_clock import ServerClock
from reconciler.errors import AnswerLost, NotPrefect, Overloaded
from reconciler.runtime.backoff import Backoff
from reconciler.runtime.clock import Clock
from reconciler.runtime.log import Log

_log = Log(__name__)

Observer = Callable[[str, str, float], None]
"""Told of each attempt: method, outcome (the status, or `lost`, or `no connection`), seconds."""

_FIRST_CONTACT = 5.0
"""Seconds after which a server that never answered counts as not there."""

_SPREAD = 1.0
"""Seconds over which requests are spread that were all told to come back at one moment."""

_CSRF_PATH = "/csrf-token"

_LARGEST = 64 * 1024 * 1024
"""Bytes of an answer: a page of 200 deployments with large schemas has some 20 MB."""


@dataclass(slots=True)
class RequestCounts:
    """Requests made so far, repeats included.

    Attributes:
        reads: that only asked.
        writes: that may have changed something.
        repeated_writes: those of the writes that one call made after its first attempt.
    """

    reads: int = 0
    writes: int = 0
    repeated_writes: int = 0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call is tried.

    Attributes:
        attempt: seconds for one attempt.
        deadline: seconds for all attempts and the waits between them.
    """

    attempt: float = 60.0
    deadline: float = 120.0


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

    def demanded(self, call: Call, answer: Answer) -> bool:
        """Whether a 403 is about the token: only its text tells. The token itself needs none."""
        if not self.enabled or call.path == _CSRF_PATH:
            return False
        forbidden = answer.status == httpx.codes.FORBIDDEN
        return forbidden and "csrf" in explanation(answer.content).lower()


class Sender:
    """Sends calls to one server.

    Attributes:
        counts: requests so far.
        server_clock: the server's time.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        clock: Clock,
        patience: Patience = Patience(),
        *,
        csrf: bool = True,
        observer: Observer | None = None,
    ) -> None:
        self.counts = RequestCounts()
        self.server_clock = ServerClock(clock)
        self._observe = observer or _unobserved
        self._http = http
        self._clock = clock
        self._patience = patience
        self._csrf = _Csrf(csrf)
        self._reads = Limiter()
        self._writes = Limiter(Aimd.for_writes())
        self._backoff = Backoff()
        self._heard = False
        self._quiet_until = 0.0

    @property
    def strained(self) -> bool:
        """Whether the server has refused writes lately, and more of ours wait."""
        return self._writes.strained

    async def send(self, call: Call) -> Answer:
        """Send a call until it is answered.

        Raises:
            AnswerLost: it must not be repeated, and nobody knows what became of it.
            Unreachable: no connection.
            Overloaded: no good answer before the deadline.
            NotPrefect: the answer is larger than any of Prefect's.
        """
        with self._limiter(call).ahead(urgent=call.urgent):
            return await self._send(call)

    async def _send(self, call: Call) -> Answer:
        progress = Progress()
        delays = self._backoff.delays()
        renewed = False
        while True:
            attempt = await self._attempt(call, progress)
            answer = attempt.answer
            if answer is not None and not renewed and self._csrf.demanded(call, answer):
                await self._renew(progress.token)
                renewed = True
            elif answer is not None and attempt.fate is Fate.ANSWERED:
                return replace(answer, lost=progress.lost)
            else:
                await self._wait(call, progress, attempt, delays)

    def _limiter(self, call: Call) -> Limiter:
        return self._reads if call.read else self._writes

    async def _wait(
        self, call: Call, progress: Progress, attempt: Attempt, delays: Iterator[float]
    ) -> None:
        """Wait until the call may be sent again, or raise if it may not."""
        if attempt.fate is Fate.UNKNOWN:
            if not call.repeatable:
                raise AnswerLost(f"{call}: {attempt.reason(call)}; it may have been carried out")
            progress.lost = True
        delay = next(delays)
        if attempt.retry_after is not None:
            delay = attempt.retry_after + min(delay, _SPREAD)
        if self._hopeless(progress, attempt, delay):
            raise given_up(call, progress, attempt, str(self._http.base_url))
        _log.debug("request repeated", call=str(call), outcome=attempt.outcome, wait=delay)
        await self._clock.sleep(delay)
        progress.spent += delay

    def _hopeless(self, progress: Progress, attempt: Attempt, delay: float) -> bool:
        if attempt.permanent:
            return True
        if attempt.broken_server and progress.tries >= retry.BROKEN_ATTEMPTS:
            return True
        unheard = attempt.unconnected and not self._heard
        deadline = (
            min(self._patience.deadline, _FIRST_CONTACT) if unheard else self._patience.deadline
        )
        return progress.spent + delay > deadline

    async def _attempt(self, call: Call, progress: Progress) -> Attempt:
        async with self._limiter(call).slot(urgent=call.urgent) as slot:
            await self._keep_quiet(call, progress)
            begun = self._clock.monotonic()
            self._count(call, repeated=progress.tries > 0)
            progress.tries += 1
            try:
                attempt = await self._exchange(call, progress, begun)
            except (httpx.RequestError, TimeoutError) as error:
                attempt = Attempt(retry.fate_of_error(error), error=error)
            took = self._clock.monotonic() - begun
            progress.spent += took
            self._note(slot, attempt)
            self._observe(call.method, attempt.outcome, took)
            return attempt

    async def _exchange(self, call: Call, progress: Progress, begun: float) -> Attempt:
        headers = {} if call.method == "GET" else self._csrf.headers()
        progress.token = self._csrf.token
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
        return Attempt(
            retry.fate_of_status(answer.status),
            answer,
            retry_after=retry.retry_after(
                answer.headers.get("retry-after"), self.server_clock.now()
            ),
        )

    async def _keep_quiet(self, call: Call, progress: Progress) -> None:
        """Wait while the server wants no requests at all: rate limits are for the client as a whole."""
        left = self._quiet_until - self._clock.monotonic()
        if left > self._patience.deadline - progress.spent:
            raise Overloaded(f"{call}: the server allows no requests now", retry_after=left)
        if left > 0:
            await self._clock.sleep(left)

    def _note(self, slot: Slot, attempt: Attempt) -> None:
        slot.overloaded = attempt.overload
        slot.answered = attempt.fate is Fate.ANSWERED
        self._heard = self._heard or attempt.answer is not None
        if attempt.limited:
            until = self._clock.monotonic() + (attempt.retry_after or 0.0)
            self._quiet_until = max(self._quiet_until, until)

    def _count(self, call: Call, *, repeated: bool) -> None:
        if call.read:
            self.counts.reads += 1
        else:
            self.counts.writes += 1
            self.counts.repeated_writes += repeated

    async def _renew(self, used: str | None) -> None:
        """Fetch a token, unless another call did so since `used` was sent."""
        async with self._csrf.lock:
            if self._csrf.token != used:
                return
            call = Call("GET", _CSRF_PATH, {"client": self._csrf.client}, read=True)
            body = result(call, await self.send(call))
            token = body.get("token") if isinstance(body, dict) else None
            if not isinstance(token, str):
                raise NotPrefect(f"{call}: the answer holds no token")
            self._csrf.token = token


def _unobserved(_method: str, _outcome: str, _seconds: float) -> None:
    """Stand in where nobody counts."""


async def _read(call: Call, response: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _LARGEST:
            raise NotPrefect(f"{call}: the answer is larger than {_LARGEST // 2**20} MiB")
    return bytes(content)
