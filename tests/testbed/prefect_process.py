"""Runs in the environment of a Prefect version: its server, in one process that ends with its parent.

`prefect server start` is the same uvicorn command behind a supervising process; without that the
pid we know is the server itself, so that a test can kill it for real.

Garbage is collected in a thread of its own. On the event loop's thread it freezes a server on SQLite
for a minute now and then: it resets a forgotten cursor, which waits for a connection that waits for
the lock, whose holder waits for the event loop (Prefect 3.8.8: seen in its threads).
"""

import gc
import itertools
import os
import sys
import threading
import time

import uvicorn


def leave_with_parent():
    os.read(0, 1)  # the parent keeps the other end open for as long as it lives
    os._exit(0)


def collect_garbage():
    for second in itertools.count(1):
        time.sleep(1)
        gc.collect(2 if second % 60 == 0 else 1 if second % 10 == 0 else 0)


gc.disable()
threading.Thread(target=collect_garbage, daemon=True).start()
threading.Thread(target=leave_with_parent, daemon=True).start()
uvicorn.run(
    "prefect.server.api.server:create_app",
    factory=True,
    host="127.0.0.1",
    port=int(sys.argv[1]),
    log_level="warning",
    timeout_keep_alive=5,
)
