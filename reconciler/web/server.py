"""The HTTP server: uvicorn, with patience for slow clients bounded, and no signals of its own."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from reconciler.errors import UsageError

_HEADER_SECONDS = 15.0
"""How long a client may take to send the head of a request."""
_IDLE_SECONDS = 15
_MOST_CONNECTIONS = 800
"""Beyond that, requests are answered with 503: many systems give a process 1,024 files."""
_LONGEST_HEAD = 32_768
_CLOSE_SECONDS = 2
_BACKLOG = 512


def bind(host: str, port: int) -> socket.socket:
    """Take an address to listen on.

    Raises:
        UsageError: it can't be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError as error:
        raise UsageError(
            f"can't listen on {host}:{port}: {error.strerror or error}",
            hint="choose another address with RECONCILER_WEB_LISTEN",
        ) from None
    listening.setblocking(False)  # noqa: FBT003 - the standard library's way
    return listening


def address_of(listening: socket.socket) -> str:
    """Return the URL of a listening socket, for people."""
    host, port = listening.getsockname()[:2]
    shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared only
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


async def serve(app: FastAPI, listening: socket.socket) -> None:
    """Answer requests until cancelled; then those under way get a moment."""
    config = uvicorn.Config(
        app,
        http=_Impatient,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_CLOSE_SECONDS,
        h11_max_incomplete_event_size=_LONGEST_HEAD,
    )
    server = _Server(config)
    async with anyio.create_task_group() as group:

        async def run() -> None:
            with anyio.CancelScope(shield=True):  # it closes its connections itself
                await server.serve([listening])

        group.start_soon(run)
        try:
            await anyio.sleep_forever()
        finally:
            server.should_exit = True


class _Server(uvicorn.Server):
    """Leaves signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Impatient(H11Protocol):
    """Closes connections whose request does not come: uvicorn itself would wait for ever."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        super().connection_lost(exc)

    def _look(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._calm()
        elif self._patience is None:
            self._patience = self.loop.call_later(_HEADER_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._patience = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()

    def _calm(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
