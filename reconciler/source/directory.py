"""A directory as it is on disk, `.gitignore` honoured."""

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import anyio.to_thread

from reconciler.errors import SourceError
from reconciler.model.snapshot import File, Origin, Snapshot
from reconciler.source.base import SourceChanged
from reconciler.source.git.command import GitFailed
from reconciler.source.git.failures import reason
from reconciler.source.git.worktree import Head, WorkTree, ignored_outside_git
from reconciler.source.scan import Rules, read_file, scan
from reconciler.source.tree import Listing, digest

_ATTEMPTS = 5
_HEX_OF_TREE = 16


@dataclass(frozen=True, slots=True)
class _OnDisk:
    """Reads files from the directory and proves that they are those that were listed."""

    root: Path
    hash_name: str

    def read(self, file: File) -> bytes:
        return read_file(self.root, file, self.hash_name)


class DirectorySource:
    """A directory, inside or outside of git.

    Its revision is `<sha>` where the files equal those of the commit, `<sha>+dirty:<tree hash>`
    where not, and `sha256:<hash>` outside git (DESIGN section 4). Files are compared as they are:
    what git would convert (line ends, filters) counts as changed.

    Args:
        path: the directory; it may be a folder of a work tree, or a link to one.
    """

    def __init__(self, path: Path | str) -> None:
        self._shown = str(path)
        self._path = Path(path).expanduser()
        self._tree: WorkTree | None = None

    async def fetch(self) -> Snapshot:
        """Return the files as they are now.

        Raises:
            SourceChanged: files kept changing while they were read.
            SourceError: it is no directory, can't be read, or its repository is broken.
        """
        try:
            return await anyio.to_thread.run_sync(self._fetch)
        except GitFailed as failure:
            raise SourceError(f"{self._shown}: {reason(failure)}") from None

    def _fetch(self) -> Snapshot:
        root = self._path.resolve()
        if not root.is_dir():
            raise SourceError(f"{self._shown} is no directory")
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._snapshot(root)
            except SourceChanged:
                continue
        return self._snapshot(root)

    def _snapshot(self, root: Path) -> Snapshot:
        tree = self._work_tree(root)
        if tree is None:
            return _outside(root, self._shown)
        head = tree.head()
        rules = Rules(tree.ignored(), _folders(head), tree.hash_name)
        return _inside(root, self._shown, tree, head, scan(root, rules))

    def _work_tree(self, root: Path) -> WorkTree | None:
        """Look anew each time: a repository may have been made or removed; keep what is known."""
        tree = WorkTree.around(root)
        if tree is None or self._tree is None or not tree.same(self._tree):
            self._tree = tree
        return self._tree


def _outside(root: Path, shown: str) -> Snapshot:
    listing = scan(root, Rules(ignored_outside_git(root)))
    total = digest(listing.files)
    return _with(listing, total, total, Origin(location=shown), _OnDisk(root, "sha1"))


def _inside(root: Path, shown: str, tree: WorkTree, head: Head, listing: Listing) -> Snapshot:
    total = digest(listing.files)
    contents = _OnDisk(root, tree.hash_name)
    origin = Origin(
        head.roots, tree.prefix, shown, shallow=head.commit is not None and not head.roots
    )
    if head.commit is None:
        return _with(listing, total, total, origin, contents)
    clean = {replace(file, size=0) for file in listing.files} == head.files
    dirt = "" if clean else f"+dirty:{total.removeprefix('sha256:')[:_HEX_OF_TREE]}"
    found = _with(listing, head.commit + dirt, total, origin, contents)
    return replace(found, commit=head.commit)


def _with(
    listing: Listing, revision: str, total: str, origin: Origin, contents: _OnDisk
) -> Snapshot:
    return Snapshot(
        revision=revision,
        digest=total,
        files=listing.files,
        origin=origin,
        contents=contents,
        verified=listing.whole,
        passed_over=listing.passed_over,
    )


def _folders(head: Head) -> frozenset[bytes]:
    parents = (parent for file in head.files for parent in PurePosixPath(file.path).parents)
    return frozenset(str(parent).encode() for parent in parents)
