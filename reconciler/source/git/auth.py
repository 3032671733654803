"""Credentials for a remote, and how git gets them: by environment, never by command line."""

import shlex
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.errors import SourceError
from reconciler.model.values import Secret
from reconciler.source.git.sharing import SharedConnections, quoted

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


@dataclass(frozen=True, slots=True)
class HttpBasicFile:
    """User name, and a file with the password that others renew, as the tokens of apps."""

    username: str
    file: Path

    def header(self) -> str:
        """Return the `Authorization` header. Secret.

        Raises:
            SourceError: the file can't be read, or is empty.
        """
        try:
            password = self.file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise SourceError(
                f"the git password file {self.file} can't be read: {reason}"
            ) from None
        if not password:
            raise SourceError(f"the git password file {self.file} is empty")
        return HttpBasic(self.username, Secret(password)).header()


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
        shared: lets a connection stand between two questions, for who asks often.
    """

    key: Path
    known_hosts: Path | None = None
    shared: SharedConnections | None = field(default=None, compare=False, repr=False)


GitAuth = HttpBasic | HttpBasicFile | HttpBearer | SshKey


def config_for(auth: GitAuth | None, url: str) -> tuple[tuple[str, str], ...]:
    """Return git configuration that carries the credentials. Secret.

    Raises:
        SourceError: they can't be read.
    """
    if not isinstance(auth, HttpBasic | HttpBasicFile | HttpBearer):
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
        words.append(f"-oIdentityFile={quoted(auth.key)}")
        if auth.known_hosts is not None:
            words.append(f"-oUserKnownHostsFile={quoted(auth.known_hosts)}")
        if auth.shared is not None:
            words += auth.shared.options(auth.key, auth.known_hosts)
    return shlex.join(words)
