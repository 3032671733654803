"""Runs in the environment of a Prefect version: its server, in one process that ends with its parent.

`prefect server start` is the same uvicorn command behind a supervising process; without that the
pid we know is the server itself, so that a test can kill it for real.
"""

import os
import sys
import threading

import uvicorn


def leave_with_parent():
    os.read(0, 1)  # the parent keeps the other end open for as long as it lives
    os._exit(0)


threading.Thread(target=leave_with_parent, daemon=True).start()
uvicorn.run(
    "prefect.server.api.server:create_app",
    factory=True,
    host="127.0.0.1",
    port=int(sys.argv[1]),
    log_level="warning",
    timeout_keep_alive=5,
)
