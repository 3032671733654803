"""An HTTP(S) API on this machine, for services that have no emulator: routes, and a log of requests."""

import json
import re
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Request:
    """What a route is given.

    Attributes:
        base: of the API's URL, `https://127.0.0.1:1234`.
        method: of HTTP.
        path: without the query.
        query: its last value for each name.
        headers: by name in lower case.
        body: as JSON if it is JSON, else as text; None without one.
        parts: of the path, by the route's groups.
    """

    base: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    parts: dict[str, str] = field(default_factory=dict)


class Broken(Exception):  # noqa: N818 - no error of ours
    """Raised by a route or a stream: the connection is cut off."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a route gives.

    Attributes:
        status: of HTTP.
        body: sent as JSON; as it is if it is bytes.
        headers: beside the type and the length of the body.
        stream: sent piece by piece, as they come, in place of a body.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    stream: Iterator[bytes] | None = None


Route = tuple[str, str, Callable[[Request], Reply]]
"""Method, regular expression of the whole path with named groups, and who answers."""


class HttpApi:
    """See the module's text.

    Attributes:
        url: of the API.
        requests: all that came, as `METHOD /path?query`.
        before: asked before each request; a reply of it is given in place of the route's.
    """

    def __init__(self, routes: list[Route], tls: tuple[Path, Path] | None = None) -> None:
        """Prepare it.

        Args:
            routes: the first that fits answers.
            tls: certificate and key for https.
        """
        self._routes = routes
        self.requests: list[str] = []
        self.before: Callable[[Request], Reply | None] = lambda _: None
        api, scheme = self, "http" if tls is None else "https"

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                api.requests.append(f"{self.command} {self.path}")
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                split = urllib.parse.urlsplit(self.path)
                request = Request(
                    base=f"{scheme}://{self.headers['host']}",
                    method=self.command,
                    path=urllib.parse.unquote(split.path),
                    query=dict(urllib.parse.parse_qsl(split.query)),
                    headers={name.lower(): value for name, value in self.headers.items()},
                    body=_parsed(body),
                )
                try:
                    self.send(api.before(request) or _routed(routes, request))
                except Broken:
                    self.close_connection = True
                    with suppress(OSError):  # the other side was quicker
                        self.connection.shutdown(socket.SHUT_RDWR)
                except (BrokenPipeError, ConnectionResetError):  # nobody waits for the answer
                    self.close_connection = True

            def send(self, reply: Reply) -> None:
                if reply.stream is not None:
                    self.send_stream(reply.stream)
                    return
                whole = isinstance(reply.body, bytes)
                data = reply.body if whole else b""
                if reply.body is not None and not whole:
                    data = json.dumps(reply.body).encode()
                self.send_response(reply.status)
                self.send_header("content-type", "application/json")
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.status != 204:
                    self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def send_stream(self, stream: Iterator[bytes]) -> None:
                self.send_response(200)
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                with suppress(BrokenPipeError, ConnectionResetError):  # nobody listens any more
                    for piece in stream:
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                        self.wfile.flush()
                    self.wfile.write(b"0\r\n\r\n")

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - by http.server

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True)

    def answer(self, request: Request) -> Reply:
        """Let the route answer, as for a request that came."""
        return _routed(self._routes, request)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def _routed(routes: list[Route], request: Request) -> Reply:
    for method, pattern, call in routes:
        found = re.fullmatch(pattern, request.path)
        if method == request.method and found:
            parts = found.groupdict()
            whole = Request(
                request.base,
                request.method,
                request.path,
                request.query,
                request.headers,
                request.body,
                parts,
            )
            return call(whole)
    text = f"no route {request.method} {request.path}"
    return Reply(404, {"error": {"code": 404, "message": text, "status": "NOT_FOUND"}})


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode(errors="replace")
