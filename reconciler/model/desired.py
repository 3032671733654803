"""What git wants: typed declarations, ready to be compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reconciler.model.keys import Key
from reconciler.model.places import Place
from reconciler.model.policy import Policy
from reconciler.model.problems import Problem
from reconciler.model.snapshot import Origin
from reconciler.model.values import Fields, Value


class DriftPolicy(StrEnum):
    """What to do about what changed behind git's back."""

    HEAL = "heal"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Options:
    """The `reconcile:` mapping of a document; None means 'as the policy says'.

    Attributes:
        prune: whether it may be deleted once git no longer declares it.
        drift: heal or report.
        ignore: field paths that are never compared nor written.
        suspend: leave the resource entirely alone.
        adopt: take over a live object that differs.
        previous_name: the key it had before, for renames.
    """

    prune: bool = True
    drift: DriftPolicy | None = None
    ignore: tuple[str, ...] = ()
    suspend: bool = False
    adopt: bool = False
    previous_name: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document, resolved: variables replaced, secrets as `Secret`, nothing checked yet.

    Attributes:
        value: the mapping.
        place: where the document starts.
        places: the place of each value, by its path of keys and list indexes.
        shape: how it was recognised: `native`, `prefect-deployment` (written by
            `prefect deployment build`) or `prefect-yaml` (an item of `deployments:`).
    """

    value: Mapping[str, Value]
    place: Place
    places: Mapping[tuple[str | int, ...], Place] = field(default_factory=dict)
    shape: str = "native"

    def at(self, *path: str | int) -> Place:
        """Return the place of a value, or of the nearest one around it."""
        for length in range(len(path), -1, -1):
            found = self.places.get(path[:length])
            if found is not None:
                return found
        return self.place


@dataclass(frozen=True, slots=True)
class Declaration:
    """A resource as git wants it.

    Attributes:
        key: its name.
        fields: the managed top-level fields only, normalised; leaves may be Secret and Ref.
        place: where its document starts.
        places: places of fields, by field path (`data.image`), for as deep as they are known.
        options: its `reconcile:` mapping.
        generated: made by us from an inline mapping, not written as a document of its own.
        written: the fields as git wrote them (conformed), before `Kind.align` filled in live
            values; None where that changed nothing. What "git changed it" is decided by.
    """

    key: Key
    fields: Fields
    place: Place
    places: Mapping[str, Place] = field(default_factory=dict)
    options: Options = Options()
    generated: bool = False
    written: Fields | None = None

    def at(self, path: str) -> Place:
        """Return the place of a field path, or of the nearest one around it."""
        while path:
            found = self.places.get(path)
            if found is not None:
                return found
            cut = max(path.rfind("."), path.rfind("["))
            path = path[:cut] if cut > 0 else ""
        return self.place


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a kind makes of a document: declarations (an inline block adds one) and problems."""

    declarations: tuple[Declaration, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class DesiredState:
    """A whole revision, valid.

    Attributes:
        revision: of the snapshot.
        digest: content hash of the manifests (paths apart), independent of the commit.
        declarations: by key.
        files: each manifest file that was read, with the keys it declared.
        policy: from `reconciler.yaml`, environment applied.
        warnings: problems that don't stop the revision.
        origin: whose tree it is.
        verified: whether the tree is known to be whole.
        commit: the commit id, None outside git.
        secrets_read: False under `--no-secrets`: secret leaves are then Masked and not compared.
        prints: tells of each declaration whether it is the same as at another load of this process,
            secrets included; means nothing to others.
    """

    revision: str
    digest: str
    declarations: Mapping[Key, Declaration]
    files: Mapping[str, tuple[Key, ...]]
    policy: Policy
    warnings: tuple[Problem, ...] = ()
    origin: Origin = Origin()
    verified: bool = True
    commit: str | None = None
    secrets_read: bool = True
    prints: Mapping[Key, str] = field(default_factory=dict)
