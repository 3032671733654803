"""Where a repository is: a URL or a path, checked, and free of credentials."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from reconciler.errors import SourceError
from reconciler.model.values import Secret
from reconciler.source.git.auth import HttpBasic

PROTOCOLS = "file:http:https:ssh"
_SCHEMES = PROTOCOLS.split(":")

_SCP = re.compile(r"(?:[^@/:\s]+@)?(?P<host>[^@/:\s]+):(?P<path>.+)")
_USERINFO = re.compile(r"://[^/\s]+@")  # a password may hold an @ that nobody quoted


@dataclass(frozen=True, slots=True, eq=False)
class Address:
    """A remote repository.

    Attributes:
        url: what git is given; it holds no password.
        shown: for people and reports.
        login: credentials that stood in the URL.
    """

    url: str
    shown: str
    login: HttpBasic | None = None


def parse(text: str) -> Address:
    """Read a URL, `user@host:path` or a local path.

    Raises:
        SourceError: it could be taken for an option or a helper program, its transport is not
            allowed, or the directory does not exist.
    """
    _refuse_tricks(text)
    if "://" in text:
        return _from_url(text)
    scp = _SCP.fullmatch(text)
    if scp and not _exists(text):
        if scp["host"].startswith("-"):
            raise SourceError(f"{_bare(text)!r} is not an address of a repository")
        if scp["host"] in _SCHEMES or "@" in scp["path"].partition("/")[0]:
            raise SourceError(
                f"{_bare(text)!r} is not an address of a repository",
                hint="with user and password it begins with https://",
            )
        return Address(url=text, shown=text)
    path = _directory(text)
    if path is None:
        raise SourceError(
            f"{_bare(text)} is no directory", hint="name a git URL or a local repository"
        )
    return Address(url=path.as_uri(), shown=str(path))


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:  # a name that is too long (found by fuzzing)
        return False


def _directory(text: str) -> Path | None:
    try:
        path = Path(text).expanduser().resolve()
        return path if path.is_dir() else None
    except (OSError, RuntimeError):  # a name that is too long, `~` of nobody (found by fuzzing)
        return None


def scrub(text: str) -> str:
    """Remove user names and passwords from all URLs of a text."""
    return _USERINFO.sub("://", text)


def _bare(text: str) -> str:
    """Return what is no address without anything that may be a password, however it is written."""
    return re.sub(r"(?s)^(.*?://|).*@", r"\1", text)


def _refuse_tricks(text: str) -> None:
    if not text or text.startswith("-") or not text.isprintable():
        raise SourceError(f"{_bare(text)!r} is not an address of a repository")
    if re.match(r"[A-Za-z0-9+.-]+::", text):
        raise SourceError(
            f"{_bare(text)!r} would start a transport helper, which is not allowed",
            hint="use https, ssh or file",
        )


def _from_url(text: str) -> Address:
    try:
        parts = urlsplit(text)
        _ = parts.port  # it is checked only when it is asked for
    except ValueError:
        raise SourceError(f"{_bare(text)!r} is not a valid URL") from None
    if parts.scheme not in _SCHEMES:
        raise SourceError(
            f"the transport {parts.scheme!r} is not allowed", hint="use https, ssh or file"
        )
    host = parts.hostname or ""
    if host.startswith("-") or (not host and parts.scheme != "file"):
        raise SourceError(f"{_bare(text)!r} names no host")
    if parts.scheme == "ssh":
        return _without_password(parts, host)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")
    # Scrubbed as well: after an unquoted slash a part of a password passes for a path.
    shown = scrub(bare._replace(query="").geturl())
    return Address(url=bare.geturl(), shown=shown, login=_login(parts))


def _without_password(parts: SplitResult, host: str) -> Address:
    if parts.password:
        raise SourceError("ssh takes no password from a URL", hint="use a key")
    if (parts.username or "").startswith("-"):
        raise SourceError(f"{host!r} is not reached with that user name")
    return Address(url=parts.geturl(), shown=scrub(parts.geturl()))


def _login(parts: SplitResult) -> HttpBasic | None:
    if parts.username is None:
        return None
    return HttpBasic(unquote(parts.username), Secret(unquote(parts.password or "")))
