"""Virtual environments of what tests run beside them (Prefect, moto), made once, kept outside git.

`python -m tests.testbed.environments` makes them all, which `make test` does before pytest.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def cache_folder() -> Path:
    """Return the folder that keeps environments and database templates between test runs."""
    return Path(os.environ.get("RECONCILER_TESTBED_CACHE") or ROOT / ".venvs").resolve()


@contextmanager
def locked(name: str, folder: Path | None = None) -> Iterator[None]:
    """Let one process at a time make something in a folder, by default the cache folder."""
    place = folder or cache_folder()
    place.mkdir(parents=True, exist_ok=True)
    with (place / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prefect_python(major: int) -> Path:
    """Return the interpreter that has Prefect 2.20.26 or 3.8.8, installing it first if needed."""
    return environment(f"prefect{major}")


def environment(name: str) -> Path:
    """Return the interpreter that has what `requirements/NAME.txt` pins, installed first if needed."""
    folder = cache_folder() / name
    requirements = ROOT / "requirements" / f"{name}.txt"
    wanted = f"{sys.version}\n{hashlib.sha256(requirements.read_bytes()).hexdigest()}"
    stamp = folder / ".installed"
    python = folder / "bin" / "python"
    with locked(name):
        # a cache from elsewhere may have an interpreter that is a dead link
        if not python.exists() or not stamp.is_file() or stamp.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            _install(folder, requirements)
            stamp.write_text(wanted)
    return python


def _install(folder: Path, requirements: Path) -> None:
    """Install by uv (2 s), or by pip (30 s), which may know of a registry that uv does not."""
    _run([sys.executable, "-m", "venv", str(folder)])
    python = str(folder / "bin" / "python")
    hashed = ["--quiet", "--no-deps", "--require-hashes", "-r", str(requirements)]
    uv = uv_command()
    if uv and _runs([uv, "pip", "install", "--python", python, *hashed]):
        return
    _run([python, "-m", "pip", "install", "--no-input", *hashed])


def uv_command() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


def _run(command: list[str]) -> None:
    done = _finished(command)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")


def _runs(command: list[str]) -> bool:
    return _finished(command).returncode == 0


def _finished(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


if __name__ == "__main__":
    for each in ("prefect2", "prefect2-collections", "prefect3", "moto"):
        environment(each)
