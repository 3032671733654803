"""Programs and packages of Debian, fetched with apt where they are missing and we may.

Where they can't be had, whoever asks fails, since nothing real is skipped.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.testbed.environments import locked

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin:/usr/local/sbin:/usr/libexec"
_PATIENCE = ("-o", "DPkg::Lock::Timeout=300")  # somebody else's apt may be at work


def install(name: str, *packages: str) -> None:
    """Install Debian packages if a program is missing.

    Raises:
        RuntimeError: they can't be had.
    """
    with locked("apt"):
        if shutil.which(name, path=PATH):
            return
        if os.geteuid() == 0 and shutil.which("apt-get"):
            _apt("install", "--yes", "--no-install-recommends", *packages)
    if not shutil.which(name, path=PATH):
        raise RuntimeError(f"these tests need {name}: install {' '.join(packages)}")


def download(folder: Path, *packages: str) -> None:
    """Download Debian packages into a folder without installing them.

    Raises:
        RuntimeError: they can't be had.
    """
    folder.chmod(0o777)  # apt downloads as a user of its own
    with locked("apt"):
        _apt("download", "-q", *packages, folder=folder)


def source(folder: Path, package: str) -> None:
    """Download a Debian source package into a folder, from where this machine has its packages.

    Raises:
        RuntimeError: it can't be had.
    """
    parts, lists = folder / "apt" / "parts", folder / "apt" / "lists"
    parts.mkdir(parents=True)
    (lists / "partial").mkdir(parents=True)
    for path in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]:
        if path.is_file():
            text = re.sub(r"^Types:.*$", "Types: deb-src", path.read_text(), flags=re.MULTILINE)
            text = re.sub(r"^deb ", "deb-src ", text, flags=re.MULTILINE)
            (parts / path.name).write_text(text)
    options = (
        *("-o", "Dir::Etc::sourcelist=/dev/null"),
        *("-o", f"Dir::Etc::sourceparts={parts}"),
        *("-o", f"Dir::State::lists={lists}"),
        *("-o", "APT::Sandbox::User=root"),
    )
    _run(*options, "update")
    _apt(*options, "source", "--download-only", package, folder=folder)


def program(name: str) -> str:
    """Return the path of a program, system programs included."""
    return shutil.which(name, path=PATH) or name


def _apt(*arguments: str, folder: Path | None = None) -> None:
    """Run apt-get; where it fails, once more with fresh lists: a new machine has none, or old ones."""
    done = _run(*arguments, folder=folder)
    if done.returncode:
        _run("update")
        done = _run(*arguments, folder=folder)
    if done.returncode:
        raise RuntimeError(f"apt-get {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")


def _run(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", *_PATIENCE, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
    )
