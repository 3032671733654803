"""git repositories: the only door to git."""

from reconciler.source.git.auth import GitAuth, HttpBasic, HttpBearer, SshKey
from reconciler.source.git.source import GitSource
from reconciler.source.git.worktree import WorkTree

__all__ = ["GitAuth", "GitSource", "HttpBasic", "HttpBearer", "SshKey", "WorkTree"]
