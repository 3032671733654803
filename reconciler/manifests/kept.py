"""Readings of manifests on disk, for the next process: unchanged files cost no parsing."""

import hashlib
import os
import pickle
import stat
import sys
import tempfile
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import reconciler
from reconciler.manifests.cache import Reading, Readings
from reconciler.manifests.marks import YAML
from reconciler.manifests.validate import Declared

_TREES = 8
"""Trees, policies and environments of which readings are kept; the oldest go."""
_PACKAGE = Path(reconciler.__file__).parent
_MODEL = "reconciler.model."
_PLAIN = {(each.__module__, each.__name__) for each in (Reading, Declared)}


class KeptReadings:
    """One file for each tree below a folder. Manifests with a secret in them are left out.

    A file is used only if it is ours and nobody else may write to it: that is what protects us, since
    nothing makes pickles of others safe. What this very code wrote is read back; a broken file finds
    no more than the plain classes of which readings consist.
    """

    def __init__(self, folder: Path, package: Path = _PACKAGE) -> None:
        """Name the folder; it is made when something is kept.

        Args:
            folder: of the files.
            package: the code that reads manifests.
        """
        self._folder = folder
        self._package = package

    def load(self, context: str) -> Readings:
        """Return what was kept; nothing if it can't be used."""
        try:
            with self._file(context).open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                    return {}
                content = file.read()
            found = Unpickler(BytesIO(content)).load()
            if not all(isinstance(reading, Reading) for _, reading in found.values()):
                return {}
        except Exception:  # noqa: BLE001 - whatever a broken file brings about: read the manifests
            return {}
        kept: Readings = found
        return kept

    def save(self, context: str, readings: Readings) -> None:
        """Keep readings in place of those that were there; a full disk or the like is no matter."""
        plain = {
            path: (blob, reading)
            for path, (blob, reading) in readings.items()
            if not any(one.secret for one in reading.declared)
        }
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                try:
                    file.write(pickle.dumps(plain))
                    file.flush()
                    Path(file.name).replace(self._file(context))
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
            for old in sorted(self._folder.iterdir(), key=_age)[_TREES:]:
                old.unlink(missing_ok=True)

    def _file(self, context: str) -> Path:
        text = f"{code_of(self._package)} {context}"
        return self._folder / hashlib.sha256(text.encode()).hexdigest()[:32]


class Unpickler(pickle.Unpickler):
    """Makes nothing but readings."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a class of which readings consist: one that the model itself defines, mostly.

        Not what a module has imported: from protocol 4 on names may lead on, `os.system`.

        Raises:
            pickle.UnpicklingError: it is none.
        """
        if (module.startswith(_MODEL) and "." not in name) or (module, name) in _PLAIN:
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a reading")


def _age(path: Path) -> float:
    return -path.stat().st_mtime


@cache
def code_of(package: Path) -> str:
    """Return what tells the code of a package from any other: how it reads may have changed."""
    parts = [sys.version, YAML]
    for folder, _, names in os.walk(package):
        for name in names:
            if name.endswith(".py"):
                path = f"{folder}/{name}"
                status = os.stat(path)  # noqa: PTH116 - a Path for each costs as much again
                parts.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()
