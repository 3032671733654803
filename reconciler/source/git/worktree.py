"""What git knows about a directory on disk."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from reconciler.errors import SourceError
from reconciler.model.snapshot import File
from reconciler.source.git.blame import Written, blame
from reconciler.source.git.command import Git, GitFailed
from reconciler.source.git.failures import reason
from reconciler.source.git.objects import list_tree


@dataclass(frozen=True, slots=True)
class Head:
    """The commit that a work tree is at.

    Attributes:
        commit: its id, None before the first commit.
        files: its files below the directory, without sizes.
        roots: root commits of its history; empty in a shallow clone, where they can't be known.
    """

    commit: str | None
    files: frozenset[File] = frozenset()
    roots: tuple[str, ...] = ()


class WorkTree:
    """A directory in the work tree of a repository. Its methods block.

    Attributes:
        directory: where it is.
        prefix: the directory's path inside the work tree, `""` for the top.
        hash_name: how the repository names blobs, `sha1` or `sha256`.
    """

    def __init__(self, directory: Path, prefix: str, hash_name: str) -> None:
        self.directory = directory
        self.prefix = prefix
        self.hash_name = hash_name
        self._git = Git(directory)
        self._head: Head | None = None

    @classmethod
    def around(cls, directory: Path) -> "WorkTree | None":
        """Return the work tree that a directory belongs to.

        None outside git, and for a directory that git ignores, since git knows nothing of it.

        Raises:
            SourceError: the directory is a repository's inside, or the repository is broken.
        """
        git = Git(directory)
        try:
            out = git.run(
                "rev-parse", "--is-inside-work-tree", "--show-object-format", "--show-prefix"
            )
        except GitFailed as failure:
            if "not a git repository" in failure.stderr:
                return None
            raise SourceError(f"{directory}: {reason(failure)}") from None
        inside, hash_name, prefix = out.decode(errors="surrogateescape").split("\n", 2)
        if inside != "true":
            raise SourceError(
                f"{directory} is the inside of a git repository, not a work tree",
                hint="read it with --repo",
            )
        found = cls(directory, prefix.removesuffix("\n").removesuffix("/"), hash_name)
        return None if found._is_ignored() else found

    def same(self, other: "WorkTree") -> bool:
        """Tell whether another one is of the same directory in the same place of a repository."""
        mine = (self.directory, self.prefix, self.hash_name)
        return mine == (other.directory, other.prefix, other.hash_name)

    def head(self) -> Head:
        """Return the commit that is checked out."""
        commit = self._commit()
        if commit is None:
            return Head(None)
        if self._head is None or self._head.commit != commit:
            self._head = Head(commit, self._files(commit), self._roots(commit))
        return self._head

    def ignored(self) -> frozenset[bytes]:
        """Return what git ignores below the directory; a folder ends with a slash."""
        return _ignored(self._git)

    def blame(self, path: str) -> dict[int, Written]:
        """Return who wrote each line of a file below the directory, as it is on disk."""
        return blame(self._git, path)

    def _is_ignored(self) -> bool:
        """Ignored as a whole, and nothing in it added by force."""
        if not self.prefix or self._git.run("ls-files", "-z"):
            return False
        try:
            self._git.run("check-ignore", "--quiet", "--", ".")
        except GitFailed as failure:
            if failure.status == 1:
                return False
            raise SourceError(f"git check-ignore: {reason(failure)}") from None
        return True

    def _commit(self) -> str | None:
        try:
            return (
                self._git.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}").decode().strip()
            )
        except GitFailed:
            return None

    def _files(self, commit: str) -> frozenset[File]:
        try:
            return frozenset(list_tree(self._git, f"{commit}:{self.prefix}", sizes=False).files)
        except GitFailed:
            return frozenset()  # the folder is not committed yet

    def _roots(self, commit: str) -> tuple[str, ...]:
        if self._git.run("rev-parse", "--is-shallow-repository").strip() == b"true":
            return ()
        return tuple(sorted(self._git.run("rev-list", "--max-parents=0", commit).decode().split()))


def ignored_outside_git(directory: Path) -> frozenset[bytes]:
    """Return what `.gitignore` files ignore below a directory that is in no repository.

    git itself is the judge, lent an empty repository.
    """
    with TemporaryDirectory(prefix="reconciler-") as empty:
        Git(Path(empty)).run("init", "--quiet", "--template=", empty)
        lent = {"GIT_DIR": f"{empty}/.git", "GIT_WORK_TREE": str(directory)}
        return _ignored(Git(directory, environment=lent))


def _ignored(git: Git) -> frozenset[bytes]:
    options = ("-z", "--others", "--ignored", "--exclude-standard", "--directory")
    return frozenset(git.run("ls-files", *options).split(b"\0")) - {b""}
