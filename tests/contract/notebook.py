"""A notebook that flow runs write to over HTTP: one line for each execution."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class Notebook:
    """See the module's text.

    Attributes:
        entries: what was written, in order: `{"run": id, "mark": …}`.
        url: where to write to, reachable on the host's network.
    """

    def __init__(self) -> None:
        entries: list[dict[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                entries.append(json.loads(body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.entries = entries
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def executions(self) -> list[str]:
        """List the ids of the executed flow runs, once for each execution."""
        return [entry["run"] for entry in self.entries]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
