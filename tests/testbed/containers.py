"""Containers as the work of a cloud that isn't there: run, stopped, read."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence

from tests.testbed.dockerd import Dockerd

LABEL = "reconciler.test-cloud"
"""Label of the containers; its value is the flow run's id."""
NEVER = "never:1"
"""An image that takes for ever to pull."""


class NoImage(Exception):  # noqa: N818 - a state, not an error of ours
    """The image can't be had; the text has the registry's words."""


class Work:
    """One container of a flow run on the host's network.

    Attributes:
        running: it runs or has run.
        exit_code: once it has ended.
        output: its lines, once it has ended.
    """

    def __init__(self, engine: Dockerd, image: str, command: Sequence[str], env: Mapping[str, str]):
        """Make it.

        Raises:
            NoImage: there is no such image.
        """
        self._engine = engine
        self.running, self.exit_code = False, None
        self.output: list[str] = []
        self._id = ""
        if image == NEVER:
            return
        if not engine.has_image(image):
            raise NoImage(f"manifest for {image} not found: manifest unknown")
        variables = [part for name, value in env.items() for part in ("--env", f"{name}={value}")]
        label = f"{LABEL}={env.get('PREFECT__FLOW_RUN_ID', '')}"
        program, *arguments = command
        self._id = engine.docker(
            *("create", "--network", "host", "--label", label, *variables),
            *("--entrypoint", program, image, *arguments),
        ).strip()

    def run(self, ended: Callable[[], None] = lambda: None) -> None:
        """Start it; tell when it has ended."""
        if self._id:
            threading.Thread(target=self._live, args=[ended], daemon=True).start()

    def stop(self, seconds: int = 2) -> None:
        """Stop it, if it runs."""
        if self._id and self.exit_code is None:
            self._engine.docker("stop", "--time", str(seconds), self._id, check=False)
            if not self.running:
                self._engine.docker("rm", "--force", self._id, check=False)

    def lines(self) -> list[str]:
        """Return what it has written."""
        if self.exit_code is not None or not self._id:
            return self.output
        return self._engine.docker("logs", self._id, check=False).splitlines()

    def _live(self, ended: Callable[[], None]) -> None:
        self._engine.docker("start", self._id, check=False)
        self.running = True
        self._engine.docker("wait", self._id, check=False)
        self.output = self._engine.docker("logs", self._id, check=False).splitlines()
        shown = self._engine.docker("inspect", self._id, check=False)
        code = json.loads(shown)[0]["State"]["ExitCode"] if shown.strip() else 137
        self._engine.docker("rm", "--force", self._id, check=False)
        self.exit_code = code
        ended()


def containers(engine: Dockerd, run_id: str | None = None, *, ended: bool = True) -> list[str]:
    """List the containers of a flow run, or of all; those that ended unless `ended` is false."""
    label = LABEL if run_id is None else f"{LABEL}={run_id}"
    return engine.docker("ps", "-aq" if ended else "-q", "--filter", f"label={label}").split()
