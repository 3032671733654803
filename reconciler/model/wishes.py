"""What the user asked for on the command line: the input of one reconciliation beside the tree."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wishes:
    """Common options (DESIGN section 4).

    Attributes:
        environment: `--env`.
        targets: `--target`, globs over keys; empty means everything.
        allow_deletes: `--allow-deletes N`: a plan may delete as many.
        allow_cascade: `--allow-cascade KEY`.
        adopt: `--adopt KEY`.
        secrets: False under `--no-secrets`.
        take_over: accept an inventory that another repository or folder made.
        lock_timeout: seconds to wait for another writer's lease.
        only_drift: show only what changed behind git's back.
    """

    environment: str | None = None
    targets: tuple[str, ...] = ()
    allow_deletes: int | None = None
    allow_cascade: tuple[str, ...] = ()
    adopt: tuple[str, ...] = ()
    secrets: bool = True
    take_over: bool = False
    lock_timeout: float = 0.0
    only_drift: bool = False


@dataclass(frozen=True, slots=True)
class Location:
    """Where the manifests are.

    Attributes:
        path: a directory as it is on disk, or with `repo` the folder inside the repository.
        repo: URL or path of a git repository that is read from its objects.
        ref: branch, tag or commit; None means the remote's HEAD.
        policy_ref: `--policy-from`: take `reconciler.yaml` from this ref.
    """

    path: str = "."
    repo: str | None = None
    ref: str | None = None
    policy_ref: str | None = None
