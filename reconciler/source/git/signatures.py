"""Only commits that somebody trusted has signed: OpenSSH and OpenPGP keys, checked by git itself."""

import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from reconciler.errors import SourceError
from reconciler.source.git.command import Git, GitFailed

_GOOD = {"ssh": ("G",), "openpgp": ("G", "U")}
"""What git says (`%G?`) of a signature that counts. `U` is a good one of unknown trust: an OpenPGP
keyring that holds the trusted keys only needs no web of trust; of ssh it means an unknown key."""
_PGP = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_IMPORT_SECONDS = 60.0
_WHY = {
    "N": "it is not signed by such a key",
    "B": "its signature is bad",
    "E": "its signature can't be checked: the key is not among the trusted ones",
    "U": "its signature is of a key that is not among the trusted ones",
    "X": "its signature has expired",
    "Y": "the key of its signature has expired",
    "R": "the key of its signature was revoked",
}


class Signers:
    """The keys whose signatures count.

    The newest commit must be signed; what it says of its parents is thereby vouched for.
    """

    def __init__(self, file: Path) -> None:
        """Make it.

        Args:
            file: in OpenSSH's format of allowed_signers, or exported OpenPGP public keys (armoured).
        """
        self._file = file

    def check(self, git: Git, commit: str) -> None:
        """Let a commit through that is signed by one of the keys.

        Raises:
            SourceError: it is not, or the keys can't be read.
        """
        content = self._content()
        with tempfile.TemporaryDirectory(prefix="reconciler-keys-") as home:
            kind = "openpgp" if _PGP in content else "ssh"
            if kind == "openpgp":
                _import(Path(home), self._file)
            verdict = _verdict(_checking(git, self._file if kind == "ssh" else None, home), commit)
        if verdict not in _GOOD[kind]:
            why = _WHY.get(verdict, f"git calls its signature {verdict!r}")
            raise SourceError(
                f"the commit {commit[:12]} is not applied: {why}",
                hint=f"sign it with a key of {self._file}, or add the key there",
            )

    def _content(self) -> bytes:
        try:
            content = self._file.read_bytes()
        except OSError as error:
            raise SourceError(
                f"the file of trusted keys {self._file} can't be read: {error.strerror}"
            ) from None
        if not content.strip():
            raise SourceError(f"the file of trusted keys {self._file} is empty")
        return content


def _checking(git: Git, allowed: Path | None, home: str) -> Git:
    """Return git with these keys and no others, whatever the user's own set-up says.

    Only the program of one kind of key may speak: of an ssh signature by anybody's key git says
    `U`, which is good enough of an OpenPGP one (git 2.39: tried).
    """
    gpg, ssh = ("gpg", "false") if allowed is None else ("false", "ssh-keygen")
    config = (
        ("gpg.program", gpg),
        ("gpg.openpgp.program", gpg),
        ("gpg.ssh.program", ssh),
        ("gpg.x509.program", "false"),
        ("gpg.ssh.allowedSignersFile", str(allowed.resolve() if allowed else "/dev/null")),
        ("gpg.ssh.revocationFile", ""),
        ("gpg.minTrustLevel", "undefined"),
    )
    return replace(
        git,
        config=(*git.config, *config),
        environment={**git.environment, "GNUPGHOME": home},
    )


def _verdict(git: Git, commit: str) -> str:
    try:
        out = git.run("log", "-1", "--format=%G?", "--no-show-signature", commit, "--", timeout=60)
    except GitFailed:
        return "E"
    return out.decode(errors="replace").strip()


def _import(home: Path, keys: Path) -> None:
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--no-autostart", "--import"]
    try:
        done = subprocess.run(  # noqa: S603 - nothing of it comes from the repository
            [*command, str(keys.resolve())],
            capture_output=True,
            timeout=_IMPORT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise SourceError(
            "commits signed with OpenPGP keys are checked by gpg, which is not installed",
            hint="install gnupg",
        ) from None
    except subprocess.TimeoutExpired:
        raise SourceError(f"gpg does not read {keys} within {_IMPORT_SECONDS:g} s") from None
    if done.returncode:
        raise SourceError(f"gpg can't read the trusted keys of {keys}")
