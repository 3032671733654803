"""Why a container ended, for people. Pure."""

import signal
from collections.abc import Mapping
from typing import Any

_COMMAND = {
    126: "its command can't be executed",
    127: "its command is not in the image",
    137: "it was killed (SIGKILL), by somebody or for want of memory",
    143: "it was asked to end (SIGTERM)",
}
_SIGNALS = 128


def explain(state: Mapping[str, Any]) -> str:
    """Return one sentence for the `State` of an ended container."""
    code = state.get("ExitCode")
    if state.get("OOMKilled"):
        return "the container was killed since its memory was used up (OOM): raise mem_limit"
    if state.get("Error"):
        return f"the container failed: {state['Error']}"
    if code == 0:
        return "the container completed"
    if code in _COMMAND:
        return f"the container ended with exit code {code}: {_COMMAND[code]}"
    if isinstance(code, int) and code > _SIGNALS:
        try:
            return f"the container ended by the signal {signal.Signals(code - _SIGNALS).name}"
        except ValueError:
            pass
    return f"the container ended with exit code {code}"


REMOVED = "the container was removed by somebody else"
