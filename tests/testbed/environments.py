"""Virtual environments of the Prefect versions under test, made once and kept outside git.

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
MAJORS = (2, 3)


def cache_folder() -> Path:
    """Return the folder that keeps environments and database templates between test runs."""
    return Path(os.environ.get("RECONCILER_TESTBED_CACHE") or ROOT / ".venvs").resolve()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one process at a time make something in the cache folder."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prefect_python(major: int) -> Path:
    """Return the interpreter that has Prefect 2.20.26 or 3.8.8, installing it first if needed."""
    folder = cache_folder() / f"prefect{major}"
    requirements = ROOT / "requirements" / f"prefect{major}.txt"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = folder / ".requirements.sha256"
    with locked(f"prefect{major}"):
        if not stamp.is_file() or stamp.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            _install(folder, requirements)
            stamp.write_text(wanted)
    return folder / "bin" / "python"


def _install(folder: Path, requirements: Path) -> None:
    uv = _uv()
    if uv:
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        python = str(folder / "bin" / "python")
        _run(
            [
                uv,
                "pip",
                "sync",
                "--quiet",
                "--require-hashes",
                "--python",
                python,
                str(requirements),
            ]
        )
        return
    _run([sys.executable, "-m", "venv", str(folder)])
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"]
    _run([*pip, "--require-hashes", "-r", str(requirements)])


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")


if __name__ == "__main__":
    for each in MAJORS:
        print(prefect_python(each), flush=True)
