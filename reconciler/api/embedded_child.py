"""Runs `prefect` in this process, which ends with its parent, however that one ends.

Run as a script by the interpreter that has Prefect, with the arguments of `prefect`:
`python -P embedded_child.py server start …`. Standard input is a pipe whose other end the parent
holds; it closes with the parent, after SIGKILL too, and no server stays behind on the database.
"""

import os
import runpy
import signal
import threading


def leave_with_parent() -> None:
    """Wait for the parent's end, then stop as if told to, and for certain a little later."""
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGINT)
    last = threading.Timer(5.0, os._exit, (1,))
    last.daemon = True
    last.start()


if __name__ == "__main__":
    threading.Thread(target=leave_with_parent, daemon=True).start()
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
