"""Credentials for a remote, and how git gets them: by environment, never by command line."""

import shlex
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from reconciler.model.values import Secret

_SSH = (
    "ssh",
    "-oBatchMode=yes",
    "-oConnectTimeout=15",
    "-oServerAliveInterval=15",
    "-oServerAliveCountMax=2",
)


@dataclass(frozen=True, slots=True, eq=False)
class HttpBasic:
    """User name and password; forges take a token as the password."""

    username: str
    password: Secret

    def header(self) -> str:
        """Return the `Authorization` header. Secret."""
        pair = f"{self.username}:{self.password.reveal()}"
        return f"Authorization: Basic {b64encode(pair.encode()).decode()}"


@dataclass(frozen=True, slots=True, eq=False)
class HttpBearer:
    """A bearer token."""

    token: Secret

    def header(self) -> str:
        """Return the `Authorization` header. Secret."""
        return f"Authorization: Bearer {self.token.reveal()}"


@dataclass(frozen=True, slots=True)
class SshKey:
    """A private key, and the host keys that are trusted.

    Attributes:
        key: file of the private key, without a passphrase.
        known_hosts: file of host keys; None for the user's own.
    """

    key: Path
    known_hosts: Path | None = None


GitAuth = HttpBasic | HttpBearer | SshKey


def config_for(auth: GitAuth | None, url: str) -> tuple[tuple[str, str], ...]:
    """Return git configuration that carries the credentials. Secret."""
    if not isinstance(auth, HttpBasic | HttpBearer):
        return ()
    name = f"http.{url}.extraHeader"
    return (
        (name, ""),  # drops what the user's own configuration may have added
        (name, auth.header()),
        ("credential.helper", ""),
        ("http.followRedirects", "false"),  # another host must not get our credentials
    )


def ssh_command(auth: GitAuth | None) -> str:
    """Return the ssh command line; it asks nobody and trusts no unknown host."""
    words = list(_SSH)
    if isinstance(auth, SshKey):
        words += ["-oIdentitiesOnly=yes", "-oStrictHostKeyChecking=yes"]
        words.append(f"-oIdentityFile={_ssh_value(auth.key)}")
        if auth.known_hosts is not None:
            words.append(f"-oUserKnownHostsFile={_ssh_value(auth.known_hosts)}")
    return shlex.join(words)


def _ssh_value(path: Path) -> str:
    """Quote a path for an ssh option: `%` starts a token there and blanks split."""
    return '"' + str(path).replace("%", "%%") + '"'
