"""The edge of the process: streams that take every text, signals, and words for the unexpected."""

import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from reconciler.cli.exits import FAILED

_PACKAGE = Path(__file__).parents[1]


def run_to_the_end(job: Callable[[], int]) -> NoReturn:
    """Run a command line and end the process with its exit code."""
    prepare_streams()
    stop_like_ctrl_c()
    try:
        code = job()
        if sys.stdout is not None:
            sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 - the last resort: no traceback reaches a user
        explain_fault(error)
        code = FAILED
    sys.exit(code)


def prepare_streams() -> None:
    """Let both streams take any text, whatever the locale says.

    What is piped or redirected is UTF-8, as JSON has to be; a terminal gets an escape for what it
    can't show.
    """
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):  # closed, or replaced by a test
            continue
        encoding = stream.encoding if stream.isatty() else "utf-8"
        stream.reconfigure(encoding=encoding, errors="backslashreplace")


def stop_like_ctrl_c() -> None:
    """Let SIGTERM end a command as Ctrl-C does: tidily, so that an apply gives its lease back.

    CI systems and containers stop with it. What serves (`up`, `agent`) takes signals over itself.
    A shell script has its background jobs ignore Ctrl-C, and their children with them: such a job
    could not be ended, nor a server that it embeds.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def explain_fault(error: Exception) -> None:
    """Say on stderr what ended the command; `-vv` logs the traceback, redacted.

    The words of a fault of our own are left out: they may quote a value that is secret.
    """
    import logging

    logging.getLogger(__name__).debug("the command failed", exc_info=error)
    if isinstance(error, OSError):
        _silence_stdout()
        where = f": {error.filename}" if error.filename else ""
        text = f"Error: {error.strerror or type(error).__name__}{where}"
    else:
        text = (
            f"Error: a fault of reconciler itself: {type(error).__name__} at {_place(error)}\n"
            "Hint: run it with -vv to see where it comes from, and report it"
        )
    sys.stderr.write(text + "\n")


def _place(error: Exception) -> str:
    """Return the innermost of our own lines."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).is_relative_to(_PACKAGE)]
    if not own:
        return "an unknown place"
    return f"{Path(own[-1].filename).relative_to(_PACKAGE)}:{own[-1].lineno}"


def _silence_stdout() -> None:
    """Drop what a full disk did not take, so that Python does not fail over it once more at exit."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
