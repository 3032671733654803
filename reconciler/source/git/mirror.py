"""A bare mirror of a remote, in the state directory."""

import fcntl
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from reconciler.errors import SourceError
from reconciler.source.folders import state_folder
from reconciler.source.git.address import PROTOCOLS, Address
from reconciler.source.git.auth import GitAuth, config_for, ssh_command
from reconciler.source.git.command import Git, GitFailed
from reconciler.source.git.failures import classify, names_no_ref, reason

_ASK_SECONDS = 60.0
_FETCH_SECONDS = 1800.0  # the first fetch of a large history
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_FULL_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_STALLED = (("http.lowSpeedLimit", "100"), ("http.lowSpeedTime", "30"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A ref of the remote.

    Attributes:
        name: what is fetched: a full ref name, `HEAD` or a commit id.
        tip: the object it points to now; a tag object for an annotated tag.
    """

    name: str
    tip: str


class Mirror:
    """The mirror of one remote. Its methods block; several processes may share it."""

    def __init__(self, folder: Path, address: Address, auth: GitAuth | None) -> None:
        name = sha256(address.url.encode()).hexdigest()[:20]
        self.path = folder / f"{name}.git"
        self._folder = folder
        self._address = address
        self._auth = auth or address.login
        self._names: dict[str | None, str] = {}
        self.local = Git(self.path)

    def fetch(self, ref: str | None) -> str:
        """Bring the mirror up to date for a ref and return its commit.

        The remote is asked what the ref points to; only if that moved, objects travel. Once it is
        known which name the ref has there, both is one connection.

        Raises:
            SourceError: no such ref, wrong credentials, unknown host key, ….
            SourceUnavailable: the remote does not answer.
        """
        with self._held():
            self._prepare()
            known = self.commit(ref) if ref and _FULL_COMMIT.fullmatch(ref) else None
            if known is not None:
                return known
            if self._renewed(ref):
                return self._required(ref)
            wanted = self._ask(ref)
            if wanted is None:
                return self._search(ref or "HEAD")
            if self._tip(ref) != wanted.tip:
                self._transfer(f"+{wanted.name}:{_kept(ref)}")
            if wanted.name == _candidates(ref)[0]:  # no other name can come before it
                self._names[ref] = wanted.name
            return self._required(ref)

    def commit(self, ref: str | None) -> str | None:
        """Return the commit that a ref had when it was last fetched, None if it never was."""
        return self._commit_of(_kept(ref)) if self.path.is_dir() else None

    def roots(self, commit: str) -> tuple[str, ...]:
        """Return the root commits of a commit's history, sorted; none if it is cut (shallow)."""
        if self.local.run("rev-parse", "--is-shallow-repository").strip() == b"true":
            return ()
        out = self.local.run("rev-list", "--max-parents=0", commit, "--")
        return tuple(sorted(out.decode().split()))

    @contextmanager
    def _held(self) -> Iterator[None]:
        state_folder(self._folder)
        with self.path.with_suffix(".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _prepare(self) -> None:
        for stale in (*self.path.glob("*.lock"), *self.path.glob("refs/**/*.lock")):
            stale.unlink(missing_ok=True)  # left by a killed git: we alone hold the mirror
        try:
            self._init()
        except GitFailed:
            shutil.rmtree(self.path)  # it is a copy: what is broken is made anew
            self._init()

    def _init(self) -> None:
        self.path.mkdir(exist_ok=True)
        self.local.run("init", "--quiet", "--bare", "--template=", str(self.path))

    def _renewed(self, ref: str | None) -> bool:
        """Fetch a ref by the name that it had before; tell whether it still has that name."""
        name = self._names.pop(ref, None)
        if name is None:
            return False
        try:
            self._transfer(f"+{name}:{_kept(ref)}")
        except SourceError as error:
            if not isinstance(error.__cause__, GitFailed):
                raise
            return False
        self._names[ref] = name
        return True

    def _ask(self, ref: str | None) -> Wanted | None:
        """Ask the remote for a ref; None if no branch or tag has that name."""
        names = _candidates(ref)
        tips: dict[str, str] = {}
        for line in self._speak("ls-remote", "--", self._address.url, *names).splitlines():
            tip, _, name = line.decode(errors="replace").partition("\t")
            tips[name] = tip
        return next((Wanted(name, tips[name]) for name in names if name in tips), None)

    def _search(self, ref: str) -> str:
        """Find a commit by its id, full or shortened."""
        if not _COMMIT.fullmatch(ref):
            raise self._gone(ref)
        if _FULL_COMMIT.fullmatch(ref):
            try:
                self._transfer(f"+{ref}:{_kept(ref)}")
            except SourceError as error:
                if not isinstance(error.__cause__, GitFailed):
                    raise
            else:
                return self._required(ref)
        # Pruned, since a branch that is gone may stand in the way of a new one (`a`, `a/b`).
        everything = ("+refs/heads/*:refs/all/heads/*", "+refs/tags/*:refs/all/tags/*")
        self._transfer(*everything, prune=True)
        found = self._commit_of(ref)
        if found is None:
            raise self._gone(ref)
        self.local.run("update-ref", _kept(ref), found)
        return found

    def _transfer(self, *refspecs: str, prune: bool = False) -> None:
        options = (
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--update-shallow",  # a repository by path may be shallow itself, as in CI
            "--prune" if prune else "--no-prune",
        )
        self._speak("fetch", *options, "--", self._address.url, *refspecs, timeout=_FETCH_SECONDS)

    def _speak(self, *args: str, timeout: float = _ASK_SECONDS) -> bytes:
        remote = Git(  # made for each word: a password file may have changed
            self.path,
            protocols=PROTOCOLS,
            config=(*config_for(self._auth, self._address.url), *_STALLED),
            environment={"GIT_SSH_COMMAND": ssh_command(self._auth)},
        )
        try:
            return remote.run(*args, timeout=timeout)
        except GitFailed as failure:
            if names_no_ref(failure):
                raise SourceError(f"{self._address.shown}: {reason(failure)}") from failure
            raise classify(failure, self._address.shown) from None

    def _gone(self, ref: str) -> SourceError:
        where = self._address.shown
        if ref == "HEAD":
            return SourceError(f"{where} has no commits", hint="push one, or name a ref")
        return SourceError(
            f"{where} has no branch, tag or commit {ref!r}",
            hint="it may have been deleted; name one that exists",
        )

    def _required(self, ref: str | None) -> str:
        found = self._commit_of(_kept(ref))
        if found is None:
            raise SourceError(f"{ref or 'HEAD'!r} of {self._address.shown} is not a commit")
        return found

    def _tip(self, ref: str | None) -> str | None:
        return self._object(_kept(ref))

    def _commit_of(self, name: str) -> str | None:
        return self._object(f"{name}^{{commit}}")

    def _object(self, name: str) -> str | None:
        try:
            out = self.local.run("rev-parse", "--verify", "--quiet", "--end-of-options", name)
        except GitFailed:
            return None
        return out.decode().strip()


def check_ref(ref: str) -> None:
    """Refuse what could be taken for an option, a pattern or a refspec.

    Raises:
        SourceError: it is no name of a branch, tag or commit (git-check-ref-format).
    """
    wrong = (
        not ref
        or ref.startswith(("-", "/", "+"))
        or ref.endswith(("/", ".", ".lock"))
        or any(part in ref for part in ("..", "//", "@{", "/."))
        or any(char in " ~^:?*[\\" or not char.isprintable() for char in ref)
    )
    if wrong:
        raise SourceError(f"{ref!r} is no name of a branch, tag or commit")


def _candidates(ref: str | None) -> tuple[str, ...]:
    """Return the full names that a ref may have; a branch goes before a tag, as in `git clone`.

    A clone by path, as in CI, may know a branch by its remote only: `origin/main`.
    """
    if ref is None or ref == "HEAD":
        return ("HEAD",)
    if ref.startswith("refs/"):
        return (ref,)
    return (f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/remotes/{ref}")


def _kept(ref: str | None) -> str:
    """Return where the mirror keeps a ref; hashed, since `a` and `a/b` can't both be files."""
    return f"refs/kept/{sha256((ref or 'HEAD').encode()).hexdigest()[:20]}"
