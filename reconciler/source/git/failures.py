"""What a failed git command means for people.

git has one exit code for most failures (128), so its words decide. It is made to speak English,
and the patterns are those that have been stable for years (git 2.39: each tried).
"""

import re
from dataclasses import dataclass

from reconciler.errors import ReconcilerError, SourceError, SourceUnavailable
from reconciler.source.git.address import scrub
from reconciler.source.git.command import GitFailed

_LONGEST = 300


@dataclass(frozen=True, slots=True)
class _Cause:
    pattern: re.Pattern[str]
    words: str
    hint: str | None


def _cause(pattern: str, words: str, hint: str | None = None) -> _Cause:
    return _Cause(re.compile(pattern, re.IGNORECASE), words, hint)


# Failures that do not pass by themselves. Order counts: the first that fits wins.
_CAUSES = (
    _cause(
        r"host key verification failed|remote host identification has changed",
        "the host key of {where} is not the known one",
        "compare the key with the host's owner, then put it into the known_hosts file",
    ),
    _cause(
        r"permission denied \(|unprotected private key|could not read (username|password)"
        r"|authentication failed|requested url returned error: 40[13]|terminal prompts disabled",
        "{where} refuses the credentials, or needs some",
        "check user name, token or key, and that they may read this repository",
    ),
    _cause(
        r"error: 3\d\d|unable to update url base from redirection",
        "{where} redirects to another address",
        "give the address that it redirects to; credentials are never sent to another one",
    ),
    _cause(
        r"repository .*not found|does not (appear to be a git repository|exist)"
        r"|requested url returned error: 404|not a git repository|not valid: is this a git",
        "there is no git repository at {where}, or the credentials may not see it",
        "check the address",
    ),
    _cause(
        r"certificate|ssl_error|gnutls_handshake.*(verif|cert)",
        "the TLS certificate of {where} is not trusted",
        "give git your certificate authority, for example by GIT_SSL_CAINFO",
    ),
    _cause(
        r"dubious ownership",
        "the repository at {where} belongs to another user",
        "allow it: git config --global --add safe.directory PATH",
    ),
    _cause(
        r"transport '.*' not allowed",
        "the transport of {where} is not allowed",
        "use https, ssh or file",
    ),
)
_NO_SUCH_REF = re.compile(
    r"couldn't find remote ref|not our ref|unadvertised object|no such remote ref"
    r"|remote error: upload-pack: not our ref",
    re.IGNORECASE,
)


def classify(failure: GitFailed, where: str) -> ReconcilerError:
    """Turn the failure of a command that spoke to a remote into an error for people.

    What is not known to need mending is taken to pass by itself, since networks fail in more
    ways than can be listed.

    Args:
        failure: what git said.
        where: the remote, without credentials.
    """
    for cause in _CAUSES:
        if cause.pattern.search(failure.stderr):
            return SourceError(cause.words.format(where=where), hint=cause.hint)
    return SourceUnavailable(f"{where} can't be reached: {reason(failure)}")


def names_no_ref(failure: GitFailed) -> bool:
    """Tell whether the remote answered, and does not give out what was asked for."""
    return _NO_SUCH_REF.search(failure.stderr) is not None


def reason(failure: GitFailed) -> str:
    """Return the line of git's words that says most, without credentials."""
    lines = [line.strip() for line in failure.stderr.splitlines() if line.strip()]
    best = next((line for line in lines if line.startswith(("fatal:", "error:"))), None)
    words = best or (lines[-1] if lines else f"git ended with {failure.status}")
    return scrub(words)[:_LONGEST]
