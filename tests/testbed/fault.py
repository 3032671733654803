"""An HTTP proxy in front of a server that fails on purpose: by request number, by rule, by seeded chance.

    with FaultProxy(server.url, seed=7) as proxy:
        proxy.add(Rule(Fault.BUSY, share=0.3))           # 30 % of answers are 503
        proxy.cut_after(5, When.AFTER)                   # request 6 is done, its answer is lost
        proxy.kill_at(3, pid, path="set_state$")         # SIGKILL at the third such request
        ... use proxy.url ...
        assert proxy.writes == []

It runs in a thread with a loop of its own; every setting may change while it runs.
"""

import asyncio
import os
import random
import re
import signal
import ssl
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h11
import httpx

from tests.testbed.fault_rules import Armed, Fault, Rule, Seen, When
from tests.testbed.fault_wire import Answer, Wire, pipe, reset

__all__ = ["Fault", "FaultProxy", "Rule", "Seen", "When"]

_HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"host"}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_REFUSED = frozenset({429, 503})
"""Answers of a busy server (SQLite), which has done nothing."""


class _Reset(Exception):  # noqa: N818 - no error: it ends a connection on purpose
    """End this connection with a TCP reset."""


class FaultProxy:
    """See the module's text.

    Attributes:
        url: what to use in place of the server's URL.
        requests: everything that came, in order of arrival.
    """

    def __init__(
        self,
        upstream: str,
        *,
        seed: int = 0,
        socket: Path | None = None,
        tls: ssl.SSLContext | None = None,
        certificate: tuple[Path, Path] | None = None,
        streams: str = r"\Z.",
    ) -> None:
        """Prepare it.

        Args:
            upstream: URL of the server.
            seed: of the chances.
            socket: where the server listens instead, the URL's host notwithstanding.
            tls: for an upstream behind https; the proxy itself speaks http all the same.
            certificate: and key, with which the proxy speaks https.
            streams: regular expression of paths whose answers never end; they pass as they are.
        """
        parts = urllib.parse.urlsplit(upstream)
        self._socket, self._tls, self._streams = socket, tls, re.compile(streams)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._path = parts.path
        self._seed = seed
        self._own: ssl.SSLContext | None = None
        if certificate is not None:
            self._own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._own.load_cert_chain(*certificate)
        self._occurrences: Counter[str] = Counter()
        self._rules: list[Armed] = []
        self._healings = 0
        self._cut: tuple[int, When] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        transport = None if socket is None else httpx.AsyncHTTPTransport(uds=str(socket))
        self._client = httpx.AsyncClient(
            timeout=None, trust_env=False, transport=transport, verify=tls or False
        )
        self._connections: set[asyncio.Task[None]] = set()
        self.requests: list[Seen] = []
        self.url = ""

    # -- what tests set and read -------------------------------------------------------------

    def add(self, *rules: Rule) -> None:
        """Add rules; the first one that fires for a request decides about it."""
        self._rules += [Armed(rule) for rule in rules]

    def cut_after(self, count: int, when: When = When.BEFORE) -> None:
        """Let `count` requests pass from now on and reset everything later.

        With `When.AFTER` the server still does the work of the first one that is cut.
        """
        self._cut = (len(self.requests) + count, when)

    def call_at(
        self, nth: int, action: Callable[[], object], when: When = When.BEFORE, path: str = ".*"
    ) -> None:
        """Call something at the n-th request (of that path) from now on; the request then goes on."""
        self.add(Rule(Fault.NONE, when, path=path, nth=nth, action=action))

    def kill_at(
        self,
        nth: int,
        pid: int | Callable[[], int],
        when: When = When.BEFORE,
        path: str = ".*",
        method: str = ".*",
    ) -> None:
        """SIGKILL a process at the n-th such request from now on.

        With `When.BEFORE` the server never sees that request, with `When.AFTER` it has done it.
        """

        def kill() -> None:
            os.kill(pid() if callable(pid) else pid, signal.SIGKILL)

        self.add(Rule(Fault.RESET, when, method, path, nth=nth, action=kill))

    def heal(self) -> None:
        """Forget all rules and the cut; what hangs ends."""
        self._healings += 1
        self._rules = []
        self._cut = None

    def forget(self) -> None:
        """Forget the recorded requests."""
        self.requests.clear()

    @property
    def writes(self) -> list[Seen]:
        """The recorded requests that mean to change something."""
        return [seen for seen in self.requests if seen.is_write]

    def count(self, path: str = ".*", method: str = ".*") -> int:
        """Count the recorded requests of a method and path."""
        rule = Rule(Fault.NONE, method=method, path=path)
        return sum(rule.matches(seen.method, seen.path) for seen in self.requests)

    # -- life --------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._own)
        port = self._server.sockets[0].getsockname()[1]
        scheme = "http" if self._own is None else "https"
        self.url = f"{scheme}://127.0.0.1:{port}{self._path}"

    async def _close(self) -> None:
        assert self._server
        self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._client.aclose()

    # -- one connection ----------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        try:
            await self._serve(Wire(reader, writer))
        except (_Reset, OSError, h11.RemoteProtocolError, asyncio.CancelledError):
            reset(writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, wire: Wire) -> None:
        while (request := await wire.request()) is not None:
            head, body = request
            upgrade = any(name == b"upgrade" for name, _ in head.headers)
            if upgrade or self._streams.search(head.target.decode()):
                await self._tunnel(head, wire)
                return
            seen = Seen(len(self.requests) + 1, head.method.decode(), head.target.decode(), body)
            self.requests.append(seen)
            answer = await self._answer(seen, head, wire)
            await wire.respond(answer)
            if not wire.next():
                return

    async def _answer(self, seen: Seen, head: h11.Request, wire: Wire) -> Answer:
        await self._maybe_cut(seen, head)
        armed = self._draw(seen)
        if armed is None:
            return await self._forward(seen, head)
        rule = armed.fire()
        seen.fault = None if rule.fault in {Fault.NONE, Fault.DELAY} else rule.fault
        late = rule.when is When.AFTER or rule.fault is Fault.TRUNCATED
        answer = await self._forward(seen, head) if late else None
        if answer is not None and answer.status in _REFUSED:
            armed.take_back()  # the server has done nothing: it is the next one that goes wrong
            seen.fault = None
            return answer
        if rule.action:
            await asyncio.to_thread(rule.action)
        return await self._spoil(rule, answer, seen, head, wire)

    async def _spoil(
        self, rule: Rule, answer: Answer | None, seen: Seen, head: h11.Request, wire: Wire
    ) -> Answer:
        if rule.fault is Fault.BUSY:
            return Answer(503, [(b"content-type", b"application/json")], b'{"detail":"busy"}')
        if rule.fault is Fault.LIMITED:
            wait = f"{rule.seconds:g}".encode()
            return Answer(429, [(b"retry-after", wait)], b'{"detail":"slow down"}')
        if rule.fault is Fault.TRUNCATED and answer:
            await wire.respond_half(answer)
            raise _Reset
        if rule.fault is Fault.DELAY:
            await asyncio.sleep(rule.seconds)
        if rule.fault is Fault.HANG:
            await self._hang(rule.seconds)
        if rule.fault in {Fault.HANG, Fault.RESET}:
            raise _Reset
        return answer or await self._forward(seen, head)

    async def _hang(self, seconds: float) -> None:
        end, healings = time.monotonic() + seconds, self._healings
        while time.monotonic() < end and self._healings == healings:
            await asyncio.sleep(0.05)

    async def _maybe_cut(self, seen: Seen, head: h11.Request) -> None:
        if self._cut is None or seen.number <= self._cut[0]:
            return
        count, when = self._cut
        seen.fault = Fault.RESET
        if when is When.AFTER and seen.number == count + 1:
            await self._forward(seen, head)
        raise _Reset

    def _draw(self, seen: Seen) -> "Armed | None":
        """Choose by a chance that depends on the request, not on how requests interleave."""
        name = _UUID.sub("*", f"{seen.method} {seen.path}")
        self._occurrences[name] += 1
        chance = random.Random(f"{self._seed} {name} {self._occurrences[name]}")
        # every rule counts, and draws for itself: one draw would let the largest share cover the rest
        due = [armed for armed in self._rules if armed.due(seen, chance.random())]
        return due[0] if due else None

    async def _forward(self, seen: Seen, head: h11.Request) -> Answer:
        headers = [(name, value) for name, value in head.headers if name not in _HOP_BY_HOP]
        request = self._client.build_request(
            seen.method, self._origin + seen.path, headers=headers, content=seen.body
        )
        try:
            answer = await self._client.send(request, stream=True)
            body = b"".join([part async for part in answer.aiter_raw()])
        except httpx.HTTPError as error:
            raise _Reset from error
        seen.status = answer.status_code
        kept = [pair for pair in answer.headers.raw if pair[0].lower() not in _HOP_BY_HOP]
        return Answer(answer.status_code, kept, body)

    async def _tunnel(self, head: h11.Request, wire: Wire) -> None:
        """Pass a stream or a web socket (Prefect's events) through as it is; rules don't touch it."""
        if self._socket is None:
            upstream, out = await asyncio.open_connection(*self._address, ssl=self._tls)
        else:
            upstream, out = await asyncio.open_unix_connection(self._socket)
        lines = [b"%s %s HTTP/1.1" % (head.method, head.target)]
        lines += [b"%s: %s" % pair for pair in head.headers]
        out.write(b"\r\n".join([*lines, b"", b""]))
        try:
            await asyncio.gather(pipe(wire.reader, out), pipe(upstream, wire.writer))
        finally:
            out.close()
