"""The HTTP half of the fault proxy: one client connection as whole requests and answers."""

import asyncio
import socket
import struct
from dataclasses import dataclass

import h11


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whole."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Wire:
    """One client connection, as requests and answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._http = h11.Connection(h11.SERVER)

    async def request(self) -> tuple[h11.Request, bytes] | None:
        """Read a whole request; None when the client is done."""
        head: h11.Request | None = None
        body = b""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self.reader.read(65536))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                return (head, body) if head else None

    async def respond(self, answer: Answer) -> None:
        parts = [self._head(answer)]
        if answer.body:
            parts.append(self._http.send(h11.Data(data=answer.body)) or b"")
        parts.append(self._http.send(h11.EndOfMessage()) or b"")
        self.writer.write(b"".join(parts))
        await self.writer.drain()

    async def respond_half(self, answer: Answer) -> None:
        self.writer.write(self._head(answer) + answer.body[: len(answer.body) // 2])
        await self.writer.drain()

    def next(self) -> bool:
        """Get ready for the next request on this connection, if there can be one."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        return False

    def _head(self, answer: Answer) -> bytes:
        # 204 and 304 carry neither a body nor its length
        length = (
            [] if answer.status in {204, 304} else [(b"content-length", b"%d" % len(answer.body))]
        )
        event = h11.Response(status_code=answer.status, headers=[*answer.headers, *length])
        return self._http.send(event) or b""


async def pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        target.write(data)
        await target.drain()
    target.close()


def reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        linger = struct.pack("ii", 1, 0)  # on, 0 seconds: closing sends RST instead of FIN
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
