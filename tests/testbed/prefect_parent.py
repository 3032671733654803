"""Run by a Prefect environment: imports Prefect's command once, then forks for each call of it.

    python prefect_parent.py SOCKET

It knows nothing of the rest of this repository; `warm.py` speaks with it.
"""

import array
import gc
import json
import os
import socket
import sys
from pathlib import Path

import prefect.context
from prefect.cli import app


def serve(descriptor):
    """Be the parent: take commands from a socket until its other end is closed."""
    connection = socket.socket(fileno=descriptor)
    gc.freeze()
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            connection.close()
            become(json.loads(message), array.array("i", descriptors))
            return
        for passed in descriptors:
            os.close(passed)
        connection.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def become(command, descriptors):
    """Be the command."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(command["env"])
    os.chdir(command["cwd"])
    if hasattr(prefect.context, "refresh_global_settings_context"):
        prefect.context.refresh_global_settings_context()
    else:
        prefect.context.GLOBAL_SETTINGS_CONTEXT = prefect.context.root_settings_context()
    sys.argv = ["prefect", *command["args"]]
    sys.path.insert(0, str(Path(sys.executable).parent))  # as its own start has it
    app()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
