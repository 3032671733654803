"""A smart-HTTP git server: Python's HTTP server in front of git's own `git http-backend`.

    with GitHttpServer(folder_of_bare_repositories, users={"bob": "token"}) as server:
        ... server.url("repo.git") ...

It takes Basic and Bearer credentials, notes every request, and can be made to fail.
"""

import base64
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.testbed.git import ENVIRONMENT


@dataclass(frozen=True)
class Request:
    """A request that came in."""

    method: str
    path: str
    authorization: str | None


class GitHttpServer:
    """Serves all bare repositories below a folder on a free port of the loopback address.

    Attributes:
        requests: what came in, in order.
        status: answered instead of the real thing, None for normal service.
        location: sent with `status`, for redirects.
    """

    def __init__(self, root: Path, users: Mapping[str, str] | None = None, port: int = 0) -> None:
        self.root = root
        self.users = users
        self.requests: list[Request] = []
        self.status: int | None = None
        self.location: str | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.server_address[1]

    def url(self, name: str, userinfo: str = "") -> str:
        """Return the URL of a repository."""
        return f"http://{userinfo}127.0.0.1:{self.port}/{name}"

    def fetches(self) -> int:
        """Return how often objects were transferred."""
        return sum(r.path.endswith("git-upload-pack") and r.method == "POST" for r in self.requests)

    def admits(self, authorization: str | None) -> bool:
        """Tell whether an Authorization header is good."""
        if self.users is None:
            return True
        scheme, _, word = (authorization or "").partition(" ")
        if scheme == "Bearer":
            return word in self.users.values()
        pairs = {f"{name}:{secret}" for name, secret in self.users.items()}
        return scheme == "Basic" and base64.b64decode(word).decode() in pairs

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving; the port is closed afterwards. Stopping twice is fine."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _handler_of(server: GitHttpServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve(b"")

        def do_POST(self) -> None:
            self._serve(_body(self))

        def _serve(self, body: bytes) -> None:
            authorization = self.headers.get("Authorization")
            server.requests.append(Request(self.command, self.path, authorization))
            if server.status is not None:
                headers = {"Location": server.location} if server.location else {}
                self._answer(server.status, headers, b"")
            elif not server.admits(authorization):
                self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"")
            else:
                self._answer(*_run_backend(self, server.root, body))

        def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    return Handler


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    body = b""
    while size := int(request.rfile.readline().split(b";")[0], 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


def _run_backend(
    request: BaseHTTPRequestHandler, root: Path, body: bytes
) -> tuple[int, dict[str, str], bytes]:
    path, _, query = request.path.partition("?")
    headers = request.headers
    done = subprocess.run(
        ["git", "http-backend"],
        input=body,
        capture_output=True,
        check=False,
        env={
            **ENVIRONMENT,
            "GIT_PROJECT_ROOT": str(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": request.command,
            "REMOTE_ADDR": request.client_address[0],
            "CONTENT_TYPE": headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": headers.get("Content-Encoding", ""),
        },
    )
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
    status = int(fields.pop("Status", "200").split()[0])
    return status, fields, content
