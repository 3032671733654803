"""An HTTP(S) API on this machine, for services that have no emulator: routes, and a log of requests."""

import json
import re
import ssl
import threading
import urllib.parse
from collections.abc import Callable
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


@dataclass(frozen=True, slots=True)
class Reply:
    """What a route gives."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


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
                self.send(api.before(request) or _routed(routes, request))

            def send(self, reply: Reply) -> None:
                data = b"" if reply.body is None else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                self.send_header("content-type", "application/json")
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.status != 204:
                    self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - by http.server

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

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
