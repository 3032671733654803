"""A git repository as a source, by URL or path, read from its objects."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TypeVar

import anyio.to_thread

from reconciler.errors import SourceError
from reconciler.model.snapshot import Origin, Snapshot
from reconciler.source.git.address import parse
from reconciler.source.git.auth import GitAuth
from reconciler.source.git.blame import Written, blame
from reconciler.source.git.command import GitFailed
from reconciler.source.git.failures import reason
from reconciler.source.git.mirror import Mirror, check_ref
from reconciler.source.git.objects import Objects, Trees
from reconciler.source.git.signatures import Signers
from reconciler.source.tree import digest

T = TypeVar("T")


class GitSource:
    """A folder of a repository at a ref.

    Args:
        location: URL, `user@host:path` or local path.
        ref: branch, tag or commit; None for the remote's HEAD.
        path: folder inside the repository that holds the manifests, `""` for its root.
        mirror_dir: where mirrors are kept; several sources and processes may share it.
        auth: credentials; None for those in the URL, or the user's own ssh and git set-up.
        signers: whose commits count; None for anybody's.

    Raises:
        SourceError: location, ref or path are not such.
    """

    def __init__(
        self,
        location: str,
        ref: str | None = None,
        path: str = "",
        *,
        mirror_dir: Path,
        auth: GitAuth | None = None,
        signers: Signers | None = None,
    ) -> None:
        if ref is not None:
            check_ref(ref)
        self._address = parse(location)
        self._ref = ref
        self._path = _folder(path)
        self._mirror = Mirror(mirror_dir, self._address, auth)
        self._objects = Objects(self._mirror.local)
        self._trees = Trees(self._mirror.local)
        self._signers = signers
        self._last: Snapshot | None = None

    async def fetch(self) -> Snapshot:
        """Return the tree that the ref points to now.

        Raises:
            SourceError: ref or folder are gone, credentials or host key are wrong, nobody trusted
                has signed the commit.
            SourceUnavailable: the remote does not answer; `last_good` still has the last tree.
        """
        return await self._in_thread(self._fetch)

    async def last_good(self) -> Snapshot | None:
        """Return the last tree that was fetched, by an earlier process too; no remote is asked."""
        return await self._in_thread(self._remembered)

    async def blame(self, commit: str, path: str) -> dict[int, Written]:
        """Return who wrote each line of a file of the folder, in a commit that was fetched."""
        whole = f"{self._path}/{path}" if self._path else path
        return await self._in_thread(lambda: blame(self._mirror.local, whole, commit))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            # A slow remote must not hold up a stop. What goes on in the thread ends by itself
            # and harms nothing: git's changes are atomic, and the mirror is locked.
            return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        except GitFailed as failure:
            raise SourceError(
                f"the mirror of {self._address.shown} is damaged: {reason(failure)}",
                hint=f"remove {self._mirror.path}; it is only a copy",
            ) from None

    def _fetch(self) -> Snapshot:
        return self._at(self._mirror.fetch(self._ref))

    def _remembered(self) -> Snapshot | None:
        if self._last is not None:
            return self._last
        commit = self._mirror.commit(self._ref)
        return None if commit is None else self._at(commit)

    def _at(self, commit: str) -> Snapshot:
        if self._last is None or self._last.commit != commit:
            self._last = self._read(commit)
        return self._last

    def _read(self, commit: str) -> Snapshot:
        git = self._mirror.local
        if self._signers is not None:
            self._signers.check(git, commit)
        try:
            listing = self._trees.list(f"{commit}:{self._path}")
        except GitFailed:
            raise SourceError(
                f"{self._address.shown} has no folder {self._path!r} at {commit[:12]}"
            ) from None
        return Snapshot(
            revision=commit,
            digest=digest(listing.files),
            files=listing.files,
            origin=Origin(self._mirror.roots(commit), self._path, self._address.shown),
            contents=self._objects,
            passed_over=listing.passed_over,
            commit=commit,
        )


def _folder(path: str) -> str:
    parts = PurePosixPath(path).parts
    if path.startswith(("/", "-")) or ".." in parts or not path.isprintable():
        raise SourceError(
            f"{path!r} is no folder of a repository",
            hint="name it relative to the root, without ..",
        )
    return "/".join(parts)
