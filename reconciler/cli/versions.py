"""What `reconciler version` tells; it imports nothing of the command line, so that it is quick."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

from reconciler import __version__


def versions() -> dict[str, str]:
    """Return the versions of this program, of Python, and of a Prefect beside it."""
    try:
        prefect = installed("prefect")
    except PackageNotFoundError:
        prefect = "not installed"
    return {"reconciler": __version__, "python": platform.python_version(), "prefect": prefect}


def as_text() -> str:
    """Return the versions, one on each line."""
    return "\n".join(f"{name} {number}" for name, number in versions().items())
