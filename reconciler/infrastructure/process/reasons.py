"""Why a process ended, in words that help."""

import signal

_CODES = {
    0: "the process ended normally",
    125: "the process ended before it was started, since its agent was gone",
    126: "the command can't be executed (exit code 126): is it executable?",
    127: "the command was not found (exit code 127)",
    # A shell between us and the command turns a signal into 128 + its number.
    137: "the process was killed by SIGKILL (exit code 137): out of memory, or by hand",
    143: "the process was stopped by SIGTERM (exit code 143)",
    247: "the process was killed (exit code 247): most likely out of memory",
}
_SIGNALS = {
    signal.SIGKILL: ": most likely out of memory, else by hand",
    signal.SIGTERM: ": somebody asked it to stop",
    signal.SIGSEGV: ": a crash in native code",
    signal.SIGABRT: ": a crash in native code",
}


def explain(code: int | None) -> str:
    """Explain the exit code of a process.

    Args:
        code: negative for a signal; None if unknown, since an earlier agent was its parent.
    """
    if code is None:
        return "the process is gone; its exit code went to an earlier agent"
    if code < 0:
        try:
            number = signal.Signals(-code)
        except ValueError:
            return f"the process was killed by signal {-code}"
        return f"the process was killed by {number.name}{_SIGNALS.get(number, '')}"
    return _CODES.get(code, f"the process ended with exit code {code}")
