"""Providers of secrets, asked in the order in which the policy names them.

Only the secrets that a manifest names are looked for, when it names them. What a provider needs to
open its place (an age identity, a token of Vault's, a command) comes from the settings of whoever
runs this program, never from the repository.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from reconciler.manifests.secrets.age import AgeSecrets
from reconciler.manifests.secrets.command import CommandSecrets
from reconciler.manifests.secrets.places import DirectorySecrets, EnvironmentSecrets
from reconciler.manifests.secrets.vault import VaultAccess, VaultSecrets
from reconciler.model.policy import SecretSource
from reconciler.model.values import MASKED, Masked, Secret


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
class SecretAccess:
    """What opens the places of secrets.

    Attributes:
        age_identities: private keys in age's form, one a line.
        vault: where Vault is, and how we are known there.
        command: program and arguments that print secrets; empty for none.
    """

    age_identities: Secret | None = None
    vault: VaultAccess | None = None
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Around:
    """What surrounds a policy.

    Attributes:
        variables: of the environment.
        tree: the directory of the tree, where it is one on disk.
        read: returns a file of the tree; None if it has none of that name.
        access: what opens the places of secrets.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    tree: Path | None = None
    read: Callable[[str], bytes | None] = lambda _: None
    access: SecretAccess = field(default_factory=SecretAccess)


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


Complaint = tuple[str, str]
"""Message and hint."""


def provider(source: SecretSource, around: Around) -> Provider | Complaint:
    """Make the provider that a policy names, or say what is wrong with it."""
    given = [name for name in SecretSource.model_fields if getattr(source, name) is not None]
    if len(given) != 1:
        words = ", ".join(f"`{name}`" for name in SecretSource.model_fields)
        return f"a provider has exactly one of {words}", "one list item for each provider"
    return _MAKERS[given[0]](source, around)


def command_provider(access: SecretAccess) -> Provider | None:
    """Make the provider that only the settings can name; it is asked last."""
    return CommandSecrets(access.command) if access.command else None


def _environment(source: SecretSource, around: Around) -> Provider | Complaint:
    if not source.env:
        return "the prefix is empty: every variable would be a secret", "RECONCILER_SECRET_"
    return EnvironmentSecrets(source.env, around.variables)


def _directory(source: SecretSource, around: Around) -> Provider | Complaint:
    directory, tree = Path(source.dir or ""), around.tree
    if not directory.is_absolute():
        if tree is None:
            return "the directory must be an absolute path", "for example /run/secrets"
        directory = tree / directory
    if tree is not None and directory.resolve().is_relative_to(tree.resolve()):
        return "the directory of secrets lies inside the tree", "keep secrets out of git"
    return DirectorySecrets(directory)


def _age(source: SecretSource, around: Around) -> Provider | Complaint:
    path = source.age or ""
    content = around.read(path)
    if content is None:
        return f"there is no file {path!r} in the tree", "name it as it stands in the repository"
    return AgeSecrets(path, content, around.access.age_identities)


def _vault(source: SecretSource, around: Around) -> Provider | Complaint:
    if source.vault is None:  # `provider` has looked
        raise RuntimeError("not a place in Vault")
    return VaultSecrets(around.access.vault, source.vault.mount, source.vault.path)


_MAKERS: Mapping[str, Callable[[SecretSource, Around], Provider | Complaint]] = {
    "env": _environment,
    "dir": _directory,
    "age": _age,
    "vault": _vault,
}

__all__ = [
    "AgeSecrets",
    "Around",
    "CommandSecrets",
    "DirectorySecrets",
    "EnvironmentSecrets",
    "NoSecrets",
    "Provider",
    "SecretAccess",
    "Secrets",
    "VaultAccess",
    "VaultSecrets",
    "command_provider",
    "provider",
]
