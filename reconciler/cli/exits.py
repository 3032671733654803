"""Exit codes (DESIGN section 4), and how a command ends with one."""

from typing import NoReturn

DONE = 0
FAILED = 1
DIFFERENT = 2
USAGE = 64
INTERRUPTED = 130


class Finished(Exception):  # noqa: N818 - the normal end of a command
    """A command has ended; carries its exit code past typer, whose own 2 means 'usage'."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def finish(code: int) -> NoReturn:
    """End the command.

    Raises:
        Finished: always.
    """
    raise Finished(code)
