"""`reconciler` and `python -m reconciler`: the one place that ends the process."""

import sys

from reconciler.cli.faults import run_to_the_end
from reconciler.runtime import memory

# httpx looks for a command line of its own, which takes a tenth of a second of every start; it goes
# without where there is none to import.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]


def main() -> None:
    """Run the command line and end the process with its exit code."""
    memory.starting()
    run_to_the_end(_versions if sys.argv[1:] == ["version"] else _command)


def _command() -> int:
    from reconciler.cli.main import run  # noqa: PLC0415 - what it imports takes a third of a second

    return run()


def _versions() -> int:
    """Do what `version` does, without the parser's imports."""
    from reconciler.cli.versions import as_text  # noqa: PLC0415 - needed here only

    sys.stdout.write(as_text() + "\n")
    return 0


if __name__ == "__main__":
    main()
