"""What is held back for safety: pure rules over the changes of a plan (DESIGN 6.7).

Each rule answers with the reason, and how to allow it, or None. The first that speaks wins.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.engine.resource import held
from reconciler.model.desired import DesiredState
from reconciler.model.inventory import Entry
from reconciler.model.keys import Key
from reconciler.model.live import Evidence, Live, Observed
from reconciler.model.plan import Action, Change
from reconciler.model.values import Ref, references

_UNCONFIRMED = "whether it is still there could not be confirmed; the next run asks again"


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the user allowed.

    Attributes:
        deletes: a plan may delete as many.
        cascades: globs over keys whose delete may take other objects along.
        destroy: everything owned is to be deleted, whatever the policy holds back.
    """

    deletes: int | None = None
    cascades: tuple[str, ...] = ()
    destroy: bool = False

    def allows_cascade(self, key: Key) -> bool:
        """Tell whether a key's delete may take other objects along."""
        return any(key.matches(pattern) for pattern in self.cascades)


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a rule may look at.

    Attributes:
        changes: of the plan, by key, holds of earlier rounds included.
        desired: what git wants.
        observed: what is live.
        permissions: what the user allowed.
        referrers: who refers to a key on the server.
        declared: ids of the live objects that git declares, with their keys.
    """

    changes: Mapping[Key, Change]
    desired: DesiredState
    observed: Observed
    permissions: Permissions
    referrers: Mapping[Key, tuple[Live, ...]]
    declared: Mapping[str, Key]

    def entry(self, change: Change) -> Entry:
        """Return what the inventory says of a delete's object."""
        return self.observed.inventory.entries[change.key]

    def evidence(self, change: Change) -> Evidence | None:
        """Return what was found out about a delete's object."""
        return self.observed.evidence.get(change.key)


Rule = Callable[[Change, Scene], str | None]


def _foreign(change: Change, scene: Scene) -> str | None:
    owner = scene.observed.foreign.get(change.id or "")
    return None if owner is None else f"the inventory {owner} owns it too; `forget` it in one"


def _declared(change: Change, scene: Scene) -> str | None:
    """Its id is that of an object that git declares: somebody renamed it."""
    key = scene.declared.get(change.id or "")
    return None if key is None else f"it is {key} now, which git declares; nothing is to be deleted"


def _unconfirmed(change: Change, scene: Scene) -> str | None:
    return _UNCONFIRMED if scene.evidence(change) is None else None


def _unverified(_change: Change, scene: Scene) -> str | None:
    return None if scene.desired.verified else "the tree is not known to be whole"


def _incomplete(_change: Change, scene: Scene) -> str | None:
    if scene.observed.complete:
        return None
    gaps = "; ".join(scene.observed.gaps) or "a page could not be read"
    return f"the server's listing is not complete ({gaps}); the next run asks again"


def _disabled(_change: Change, scene: Scene) -> str | None:
    if scene.desired.policy.prune.enabled:
        return None
    return "pruning is off: `prune: {enabled: true}` in reconciler.yaml allows it"


def _kept(change: Change, scene: Scene) -> str | None:
    if scene.entry(change).prune:
        return None
    return f"it was declared with `prune: false`; `reconciler forget {change.key}` lets go of it"


def _suspended(change: Change, scene: Scene) -> str | None:
    if not scene.entry(change).suspend:
        return None
    return f"it was suspended when last seen; `reconciler forget {change.key}` lets go of it"


def _referred(change: Change, scene: Scene) -> str | None:
    names = sorted(
        str(declaration.key)
        for declaration in scene.desired.declarations.values()
        if change.key in {ref.key for ref in references(declaration.fields)}
    )
    return f"still referred to in git by {', '.join(names)}" if names else None


def _cascades(change: Change, scene: Scene) -> str | None:
    """What the server would delete or cripple with it, beyond what this plan handles itself."""
    evidence = scene.evidence(change)
    history = () if evidence is None else evidence.cascades
    return _cascade(change, scene, (*history, *_dependents(change, scene)))


def _strangers(change: Change, scene: Scene) -> str | None:
    """What nobody asked to destroy: objects of others that use it."""
    return _cascade(change, scene, _dependents(change, scene))


def _cascade(change: Change, scene: Scene, taken: Sequence[str]) -> str | None:
    if not taken or scene.permissions.allows_cascade(change.key):
        return None
    allow = f"`--allow-cascade {change.key}` or `prune.allow` in reconciler.yaml allows it"
    return f"{'; '.join(taken)}; {allow}"


def _dependents(change: Change, scene: Scene) -> tuple[str, ...]:
    """Describe the objects that use it, are none of this plan's and would go or be crippled."""
    evidence = scene.evidence(change)
    if evidence is None:
        return ()
    users = scene.referrers.get(change.key, ())
    handled = {live.id for live in users if _leaves(live, change.key, scene)}
    handled |= {c.id for c in scene.changes.values() if c.action is Action.DELETE and c.id}
    taken = [what for id_, what in evidence.takes.items() if id_ not in handled]
    staying = {live.id: live for live in users if live.id not in handled | evidence.takes.keys()}
    return (*taken, *(f"{live.key} refers to it" for live in staying.values()))


def _leaves(live: Live, key: Key, scene: Scene) -> bool:
    """Whether a referrer is deleted, or pointed elsewhere, by this plan."""
    change = scene.changes.get(live.key)
    return change is not None and frees(change, live, key)


def frees(change: Change, live: Live, key: Key) -> bool:
    """Tell whether a change makes an object let go of another one.

    Args:
        change: of the object that refers.
        live: that object as it was planned with.
        key: of what it refers to.
    """
    if change.action in (Action.BLOCKED, Action.DELETE):
        return change.action is Action.DELETE
    return Ref(key) not in set(references({**live.fields, **change.target}))


def _active(change: Change, scene: Scene) -> str | None:
    evidence = scene.evidence(change)
    if evidence is None or not evidence.active_runs:
        return None
    return f"{evidence.active_runs} flow run(s) are active; it goes when they have ended"


PROOF: tuple[Rule, ...] = (_foreign, _declared, _unconfirmed, _unverified, _incomplete)
"""Without these a delete is a guess: nothing overrides them."""

POLICY: tuple[Rule, ...] = (_disabled, _kept, _suspended, _referred, _cascades, _active)
"""These protect what may well be meant: `destroy` overrides them."""

DESTROY: tuple[Rule, ...] = (*PROOF, _strangers)
"""What `destroy` keeps to: it takes the run history along, and nothing that others made."""


def hold(
    changes: Sequence[Change], desired: DesiredState, observed: Observed, permissions: Permissions
) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """Return the changes with those held back as blocked, and what holds the plan as a whole."""
    current = {change.key: change for change in changes}
    referrers = _referrers(observed)
    declared = {live.id: key for key, live in observed.live.items() if key in desired.declarations}
    while True:  # a hold can make another needful: what a held object refers to must stay
        scene = Scene(current, desired, observed, permissions, referrers, declared)
        after = {key: _single(change, scene) for key, change in current.items()}
        if after == current:
            break
        current = after
    reason = _whole(scene)
    if reason is None:
        return tuple(current.values()), ()
    whole = {
        key: held(change, reason) if _destructive(change, scene) else change
        for key, change in current.items()
    }
    return tuple(whole.values()), (f"deletes are held: {reason}",)


def _referrers(observed: Observed) -> dict[Key, tuple[Live, ...]]:
    found: dict[Key, tuple[Live, ...]] = {}
    for live in observed.live.values():
        for key in {ref.key for ref in references(live.fields)} - {live.key}:
            found[key] = (*found.get(key, ()), live)
    return found


def _single(change: Change, scene: Scene) -> Change:
    if change.action is not Action.DELETE:
        return change
    evidence = scene.evidence(change)
    if evidence is not None and not evidence.present:
        return change  # nothing is deleted but a line of the inventory
    rules = DESTROY if scene.permissions.destroy else PROOF + POLICY
    reason = next(filter(None, (rule(change, scene) for rule in rules)), None)
    return change if reason is None else held(change, reason)


def _destructive(change: Change, scene: Scene) -> bool:
    evidence = scene.evidence(change)
    return change.action is Action.DELETE and evidence is not None and evidence.present


def _whole(scene: Scene) -> str | None:
    doomed = [change for change in scene.changes.values() if _destructive(change, scene)]
    allowed = scene.permissions.deletes or 0
    if not doomed or scene.permissions.destroy or len(doomed) <= allowed:
        return None
    reason = _too_many(doomed, scene) or _nothing_left(scene) or _emptied(doomed, scene)
    return None if reason is None else f"{reason}; `--allow-deletes {len(doomed)}` allows it"


def _too_many(doomed: Sequence[Change], scene: Scene) -> str | None:
    prune = scene.desired.policy.prune
    owned = len(scene.observed.inventory.entries)
    if len(doomed) <= prune.max_deletes or len(doomed) <= prune.max_share * owned:
        return None
    return (
        f"{len(doomed)} of {owned} objects would go, more than {prune.max_deletes} "
        f"and more than {prune.max_share:.0%}"
    )


def _nothing_left(scene: Scene) -> str | None:
    return None if scene.desired.declarations else "nothing at all would be left"


def _emptied(doomed: Sequence[Change], scene: Scene) -> str | None:
    files = sorted({scene.entry(change).file for change in doomed})
    empty = [file for file in files if scene.desired.files.get(file) == ()]
    return f"{', '.join(empty)} gave objects and gives none now" if empty else None
