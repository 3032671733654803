"""Real git repositories for tests, untouched by the user's own git settings."""

import os
import subprocess
from pathlib import Path
from typing import Self

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.test",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.test",
    "GIT_ALLOW_PROTOCOL": "file:http:https:ssh",
}


def git(folder: Path, *args: str, stdin: bytes = b"", **environment: str) -> str:
    """Run git in a folder and return what it prints; its own words are in the error."""
    done = subprocess.run(
        ["git", *args],
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        input=stdin,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, (args, done.stderr.decode(errors="replace"))
    return done.stdout.decode(errors="surrogateescape").strip()


class Repository:
    """A work tree with a repository of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, *options: str) -> Self:
        """Make an empty repository whose branch is `main`."""
        path.mkdir(parents=True, exist_ok=True)
        git(path, "init", "--quiet", "--initial-branch=main", *options)
        return cls(path)

    def git(self, *args: str, **environment: str) -> str:
        """Run git in the work tree."""
        return git(self.path, *args, **environment)

    def write(self, **files: str) -> Self:
        """Write files below the root; `__` in a name stands for `/`, `_dot_` for a dot."""
        for name, text in files.items():
            self.put(name.replace("__", "/").replace("_dot_", "."), text)
        return self

    def put(self, name: str, text: str) -> Self:
        """Write one file by its path."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return self

    def commit(self, message: str = "work") -> str:
        """Commit everything and return the commit id."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.head()

    def head(self) -> str:
        """Return the id of the current commit."""
        return self.git("rev-parse", "HEAD")

    def publish(self, bare: Path) -> Path:
        """Push all branches and tags to a bare repository, made when needed, by force."""
        if not bare.exists():
            bare.mkdir(parents=True)
            git(bare, "init", "--quiet", "--bare", "--initial-branch=main")
            git(bare, "config", "uploadpack.allowFilter", "true")
        self.git("push", "--quiet", "--mirror", str(bare))
        return bare
