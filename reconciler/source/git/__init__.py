"""git repositories: the only door to git."""

from reconciler.source.git.auth import GitAuth, HttpBasic, HttpBasicFile, HttpBearer, SshKey
from reconciler.source.git.blame import Written
from reconciler.source.git.sharing import SharedConnections
from reconciler.source.git.signatures import Signers
from reconciler.source.git.source import GitSource
from reconciler.source.git.worktree import WorkTree

__all__ = [
    "GitAuth",
    "GitSource",
    "HttpBasic",
    "HttpBasicFile",
    "HttpBearer",
    "SharedConnections",
    "Signers",
    "SshKey",
    "WorkTree",
    "Written",
]
