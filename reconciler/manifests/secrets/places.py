"""Secrets of this machine: prefixed environment variables, directories of files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_LARGEST = 1_000_000
_OTHER_FILE = "a secret is a short text"


@dataclass(frozen=True, slots=True)
class EnvironmentSecrets:
    """Variables with a prefix; `db-password` is also found as `DB_PASSWORD`."""

    prefix: str
    variables: Mapping[str, str]

    @property
    def label(self) -> str:
        """How to call it."""
        return f"the environment variables {self.prefix}*"

    def find(self, name: str) -> str | None:
        """Return the variable's value."""
        usual = name.upper().replace("-", "_").replace(".", "_")
        for candidate in (name, usual):
            value = self.variables.get(self.prefix + candidate)
            if value is not None:
                return value
        return None


@dataclass(frozen=True, slots=True)
class DirectorySecrets:
    """One file a secret. Links are followed: Kubernetes mounts secrets by links."""

    directory: Path

    @property
    def label(self) -> str:
        """How to call it."""
        missing = "" if self.directory.is_dir() else " (no such directory)"
        return f"the directory {self.directory}{missing}"

    def find(self, name: str) -> str | None:
        """Return the file's text; one newline at its end is not part of the secret."""
        path = self.directory / name
        try:
            if not path.is_file():
                return None
            if path.stat().st_size > _LARGEST:
                raise LookupError(f"the file of the secret {name} is larger than 1 MB", _OTHER_FILE)
            text = path.read_bytes().decode()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            message = f"the file of the secret {name} can't be read: {reason}"
            raise LookupError(message, "check the directory's permissions") from None
        except UnicodeDecodeError:
            raise LookupError(f"the file of the secret {name} is not UTF-8", _OTHER_FILE) from None
        return text.removesuffix("\n").removesuffix("\r")
