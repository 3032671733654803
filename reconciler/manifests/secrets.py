"""Providers of secrets: prefixed environment variables and directories of files.

Only the secrets that a manifest names are read, when it names them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reconciler.model.policy import SecretSource
from reconciler.model.values import MASKED, Masked, Secret

_LARGEST = 1_000_000
_OTHER_FILE = "a secret is a short text"


class Provider(Protocol):
    """One place that secrets come from."""

    @property
    def label(self) -> str:
        """How to call the place that a name was looked for in."""
        ...

    def find(self, name: str) -> str | None:
        """Return a secret's text, None if there is none.

        Raises:
            LookupError: it is there and can't be used; the arguments are message and hint.
        """
        ...


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


class Secrets:
    """All providers, asked in order; the first that has the name wins."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = providers
        self._read: dict[str, Secret] = {}

    def get(self, name: str) -> Secret:
        """Return a secret.

        Raises:
            LookupError: there is none, or it can't be used; the arguments are message and hint.
        """
        if name not in self._read:
            self._read[name] = Secret(self._find(name), name)
        return self._read[name]

    def _find(self, name: str) -> str:
        for provider in self._providers:
            text = provider.find(name)
            if text is not None:
                return text
        asked = ", ".join(provider.label for provider in self._providers)
        hint = (
            f"looked for it in {asked}"
            if asked
            else "name a provider below `secrets:` in reconciler.yaml"
        )
        raise LookupError(f"there is no secret {name}", hint)


class NoSecrets:
    """Reads nothing: `--no-secrets`."""

    def get(self, name: str) -> Masked:  # noqa: ARG002 - nothing is looked up
        """Return the mark of a value that isn't compared."""
        return MASKED


def provider(
    source: SecretSource, variables: Mapping[str, str], tree: Path | None
) -> Provider | tuple[str, str]:
    """Make the provider that a policy names, or say what is wrong with it: message and hint."""
    if (source.env is None) == (source.dir is None):
        return "a provider has exactly one of `env` and `dir`", "one list item for each provider"
    if source.env is not None:
        if not source.env:
            return "the prefix is empty: every variable would be a secret", "RECONCILER_SECRET_"
        return EnvironmentSecrets(source.env, variables)
    directory = Path(source.dir or "")
    if not directory.is_absolute():
        if tree is None:
            return "the directory must be an absolute path", "for example /run/secrets"
        directory = tree / directory
    if tree is not None and directory.resolve().is_relative_to(tree.resolve()):
        return "the directory of secrets lies inside the tree", "keep secrets out of git"
    return DirectorySecrets(directory)
