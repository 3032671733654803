"""Building the plan: pure, from what git wants and what is live to what is to be done."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.engine import guard, order, resource
from reconciler.engine.resource import Proposal, held
from reconciler.model.desired import DesiredState
from reconciler.model.inventory import Inventory, shard_of, shards_for
from reconciler.model.keys import Key
from reconciler.model.live import Observed
from reconciler.model.places import Place
from reconciler.model.plan import Action, Cause, Change, Plan
from reconciler.model.policy import Policy
from reconciler.model.snapshot import Origin
from reconciler.model.values import ABSENT, references

_LEASE_WRITES = 2  # acquire and release


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What the user asked for.

    Attributes:
        targets: globs over keys; empty means everything. What a target refers to comes along.
        allow_deletes: a plan may delete as many.
        allow_cascade: globs over keys whose delete may take other objects along.
        adopt: globs over keys of differing live objects that may be taken over.
        only_drift: keep only what changed behind git's back.
        take_over: accept an inventory that another repository or folder made.
        environment: name of the environment, "" if none.
        destroy: delete all that is owned, whatever the policy holds back.
    """

    targets: tuple[str, ...] = ()
    allow_deletes: int | None = None
    allow_cascade: tuple[str, ...] = ()
    adopt: tuple[str, ...] = ()
    only_drift: bool = False
    take_over: bool = False
    environment: str = ""
    destroy: bool = False


@dataclass(frozen=True, slots=True)
class _Draft:
    changes: tuple[Change, ...] = ()
    prints: Mapping[Key, tuple[tuple[str, str], ...]] = field(default_factory=dict)


def build(desired: DesiredState, observed: Observed, options: PlanOptions | None = None) -> Plan:
    """Return what is to be done, in order, and what is held back.

    Args:
        desired: the whole revision, as `observe` returned it (conformed and aligned).
        observed: what is live, what we own, evidence for deletes.
        options: what the user asked for.
    """
    options = options or PlanOptions()
    wanted = selected(desired, observed.inventory, options.targets)
    draft = _drafted(desired, observed, options, wanted)
    permissions = guard.Permissions(
        deletes=options.allow_deletes,
        cascades=(*options.allow_cascade, *desired.policy.prune.allow),
        destroy=options.destroy,
    )
    changes, notices = guard.hold(draft.changes, desired, observed, permissions)
    changes = _waiting(changes, desired, observed)
    if options.only_drift:
        changes = _only_drift(changes)
    changes = tuple(sorted(changes, key=lambda change: change.key))
    effective = [change for change in changes if change.action is not Action.BLOCKED]
    levels = order.levels(effective, observed.live, observed.rules)
    return Plan(
        revision=desired.revision,
        digest=_digest(desired, observed, changes, draft.prints),
        inventory=observed.inventory.name,
        server=str(observed.server),
        changes=changes,
        levels=levels,
        unchanged=len(wanted & desired.declarations.keys() - {c.key for c in changes}),
        reads=observed.reads,
        writes=_writes(effective, levels, observed.inventory),
        notices=(*notices, *_notices(desired, observed)),
        environment=options.environment,
    )


def selected(desired: DesiredState, inventory: Inventory, targets: Sequence[str]) -> frozenset[Key]:
    """Return the keys that a reconciliation is about: targets, and what they refer to."""
    known = desired.declarations.keys() | inventory.entries.keys()
    if not targets:
        return frozenset(known)
    found: set[Key] = set()
    waiting = [key for key in known if any(key.matches(pattern) for pattern in targets)]
    while waiting:
        key = waiting.pop()
        if key in found:
            continue
        found.add(key)
        declaration = desired.declarations.get(key)
        if declaration is not None:
            waiting += [
                ref.key for ref in references(declaration.fields) if ref.key in desired.declarations
            ]
    return frozenset(found)


def _drafted(
    desired: DesiredState, observed: Observed, options: PlanOptions, wanted: frozenset[Key]
) -> _Draft:
    proposals: list[Proposal | None] = [
        resource.declared(
            declaration,
            desired,
            observed,
            adopt=any(key.matches(pattern) for pattern in options.adopt),
        )
        for key, declaration in desired.declarations.items()
        if key in wanted
    ]
    proposals += [
        resource.removed(entry, observed)
        for key, entry in observed.inventory.entries.items()
        if key in wanted and key not in desired.declarations
    ]
    found = [proposal for proposal in proposals if proposal is not None]
    return _Draft(
        tuple(_placed(proposal.change, observed) for proposal in found),
        {proposal.change.key: proposal.prints for proposal in found},
    )


def _placed(change: Change, observed: Observed) -> Change:
    """Say of a delete which file had declared it."""
    if change.cause is not Cause.REMOVED:
        return change
    file = observed.inventory.entries[change.key].file
    return replace(change, source=Place(file)) if file else change


def _waiting(
    changes: Sequence[Change], desired: DesiredState, observed: Observed
) -> tuple[Change, ...]:
    """Hold whatever refers to an object that will not be there."""
    current = {change.key: change for change in changes}
    suspended = {
        key
        for key, declaration in desired.declarations.items()
        if declaration.options.suspend and key not in observed.live
    }
    while True:
        missing = suspended | {
            change.key
            for change in current.values()
            if change.action is Action.BLOCKED and change.key not in observed.live
        }
        after = {key: _held_by(change, missing) for key, change in current.items()}
        if after == current:
            return tuple(after.values())
        current = after


def _held_by(change: Change, missing: set[Key]) -> Change:
    if change.action in (Action.BLOCKED, Action.DELETE):
        return change
    names = sorted({str(ref.key) for ref in references(change.target) if ref.key in missing})
    return (
        held(change, f"it needs {', '.join(names)}, which is not there, and held back")
        if names
        else change
    )


def _only_drift(changes: Iterable[Change]) -> tuple[Change, ...]:
    behind = (Cause.DRIFT, Cause.BOTH)
    return tuple(
        replace(change, fields=tuple(f for f in change.fields if f.cause in behind))
        for change in changes
        if change.drifted
    )


def _writes(
    effective: Sequence[Change], levels: Sequence[Sequence[Key]], inventory: Inventory
) -> int:
    """Estimate the writing requests of an apply: objects, inventory before and after, lease."""
    if not effective:
        return 0
    by_key = {change.key: change for change in effective}
    objects = sum(_touches(change) + _disturbs(change) for change in effective)
    ahead = {
        change.key for change in effective if change.action is Action.CREATE or _disturbs(change)
    }
    shards = shards_for(len(inventory.entries.keys() | by_key.keys()), inventory.shards)
    intents, records = (
        sum(len({shard_of(key, shards) for key in level if key in keys}) for level in levels)
        for keys in (ahead, by_key)
    )
    return objects + intents + records + _LEASE_WRITES


def _disturbs(change: Change) -> bool:
    """Tell whether it takes something away that is noted before and given back after."""
    return change.action in (Action.UPDATE, Action.ADOPT) and bool(change.effects)


def _touches(change: Change) -> bool:
    if change.action is Action.DELETE:
        return change.id is not None
    return change.action is Action.CREATE or bool(change.target) or change.former is not None


def _notices(desired: DesiredState, observed: Observed) -> Iterable[str]:
    yield from (str(problem) for problem in desired.warnings)
    yield from (f"not read: {gap}" for gap in observed.gaps)
    if not desired.secrets_read:
        yield "secrets were not read and not compared"


def _digest(
    desired: DesiredState,
    observed: Observed,
    changes: Sequence[Change],
    prints: Mapping[Key, tuple[tuple[str, str], ...]],
) -> str:
    """Bind the plan to the manifests (by content) and to the live state that it would change.

    Revision, commit, time, files and lines are not in it: a squash merge of the same content
    gives the same digest. Without an inventory there is no lasting key for fingerprints yet; then
    the values as shown stand in for them, which hold no secret either.
    """
    keyed = observed.inventory.exists
    canonical = {
        "desired": desired.digest,
        "inventory": observed.inventory.name,
        "changes": [
            [
                str(change.key),
                change.action.value,
                change.wanted and change.wanted.value,
                change.id,
                [f.path for f in change.fields],
                prints.get(change.key, ()) if keyed else _as_shown(change),
            ]
            for change in changes
        ],
    }
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _as_shown(change: Change) -> list[list[object]]:
    return [
        ["<absent>" if side is ABSENT else side for side in (f.before, f.after)]
        for f in change.fields
    ]


def nothing_desired(policy: Policy, origin: Origin) -> DesiredState:
    """Return the desired state of `destroy`: an empty tree, known to be meant.

    A plan for it with `PlanOptions(destroy=True)` deletes all that is owned, on proof.
    """
    return DesiredState(
        revision="",
        digest="destroy",
        declarations={},
        files={},
        policy=policy,
        origin=origin,
    )
