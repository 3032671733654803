"""What is to be done with one resource, before any guard has looked at it."""

from dataclasses import dataclass, field, replace

from reconciler.engine import cause, diff, renames
from reconciler.engine.compare import Comparer, Comparison
from reconciler.model import paths
from reconciler.model.desired import Declaration, DesiredState, DriftPolicy
from reconciler.model.inventory import Entry
from reconciler.model.live import Live, Observed
from reconciler.model.plan import Action, Cause, Change, FieldChange
from reconciler.model.rules import KindRules
from reconciler.model.values import ABSENT, contains_secret

_INTERRUPTED = "an interrupted apply had written it; what that took away is given back"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change together with what only its digest needs.

    Attributes:
        change: what would be done.
        prints: keyed fingerprints before and after, for each of the change's fields.
    """

    change: Change
    prints: tuple[tuple[str, str], ...] = field(default=())


def owns(entry: Entry | None, live: Live) -> bool:
    """Tell whether a live object is the one that an entry stands for.

    An intent (written before a create whose end we never saw) becomes ours if the object was
    created no earlier, both times by the server's clock (DESIGN 6.3).
    """
    if entry is None:
        return False
    if entry.id is not None:
        return entry.id == live.id
    return live.created is not None and live.created >= entry.since


def declared(
    declaration: Declaration, desired: DesiredState, observed: Observed, *, adopt: bool
) -> Proposal | None:
    """Propose what to do with a resource that git declares; None if nothing."""
    entry = observed.inventory.entries.get(declaration.key)
    live = observed.live.get(declaration.key)
    if declaration.options.suspend:
        return _remember_suspended(declaration, entry)
    if live is None:
        change = _create(declaration, entry, report=_reports(declaration, desired))
        return Proposal(_left_behind(change, declaration, observed))
    owner = observed.foreign.get(live.id)
    if owner is not None:
        return Proposal(_foreign(declaration, live, owner))
    owned = owns(entry, live)
    found = Comparer(
        declaration=declaration,
        live=live.fields,
        entry=entry,
        rules=observed.rules.get(declaration.key.kind, KindRules()),
        fingerprinter=observed.inventory.fingerprinter,
        owned=owned,
        report=_reports(declaration, desired),
    ).compare()
    if owned and not found.fields and declaration.key not in observed.renamed:
        # Where the key could not be read (--no-secrets), what it remembers is unknown.
        return _remember(declaration, live, entry, found) if observed.inventory.exists else None
    allowed = adopt or declaration.options.adopt
    if not owned:
        change = _adopt(declaration, live, found, allowed=allowed)
    elif found.fields:
        change = _update(declaration, live, found)
        if not found.immutable:
            change = _giving_back(change, entry)
    else:
        change = _only_known(declaration, live, "git renames it")
    return Proposal(_renamed(_disturbing(change, observed), found, observed), found.prints)


def _left_behind(change: Change, declaration: Declaration, observed: Observed) -> Change:
    """Say of a new object that it stands for one of another name, and what that one takes along."""
    old = renames.former(declaration)
    rules = observed.rules.get(change.key.kind, KindRules())
    if old is None or old not in observed.inventory.entries or not rules.left_behind:
        return change
    return replace(change, effects=(f"{old} can't be renamed: {rules.left_behind}",))


def _renamed(change: Change, found: Comparison, observed: Observed) -> Change:
    """Add the new name to a change; what else is held of it does not hold that."""
    renaming = observed.renamed.get(change.key)
    if renaming is None or found.immutable:
        return change
    if renaming.done:
        reason = f"it was {renaming.former} and bears its new name; only the inventory is written"
        return change if found.fields else replace(change, reason=reason)
    named = FieldChange(
        path="name",
        before=renaming.former.name,
        after=change.key.name,
        cause=Cause.GIT,
        source=change.source,
    )
    return replace(
        change,
        action=Action.UPDATE,
        wanted=None,
        cause=cause.of_change((Cause.GIT, *(one.cause for one in found.fields))),
        reason=f"git renames {renaming.former}; it keeps its id",
        fields=(named, *change.fields),
        former=renaming.former,
    )


def _reports(declaration: Declaration, desired: DesiredState) -> bool:
    chosen = declaration.options.drift or DriftPolicy(desired.policy.drift)
    return chosen is DriftPolicy.REPORT


def _create(declaration: Declaration, entry: Entry | None, *, report: bool) -> Change:
    vanished = entry is not None and entry.id is not None
    why = Cause.DRIFT if vanished else Cause.NEW
    change = Change(
        key=declaration.key,
        action=Action.CREATE,
        cause=why,
        reason="it was deleted behind git's back" if vanished else "git declares it",
        source=declaration.place,
        fields=_all_fields(declaration, why),
        target=declaration.fields,
    )
    if vanished and report:
        return held(change, "it was deleted behind git's back; drift is reported here, not healed")
    return change


def _all_fields(declaration: Declaration, why: Cause) -> tuple[FieldChange, ...]:
    known = diff.Known(declaration.fields)
    return tuple(
        FieldChange(
            path=path,
            before=ABSENT,
            after=(
                diff.SECRET if contains_secret(leaf) or known.inside(leaf) else diff.plain(leaf)
            ),
            cause=why,
            source=declaration.at(path),
        )
        for path, leaf in paths.leaf_paths(declaration.fields)
    )


def held(change: Change, reason: str) -> Change:
    """Return a change that is not carried out, and why."""
    return replace(
        change,
        action=Action.BLOCKED,
        reason=reason,
        wanted=change.wanted if change.action is Action.BLOCKED else change.action,
    )


def _foreign(declaration: Declaration, live: Live, owner: str) -> Change:
    return Change(
        key=declaration.key,
        action=Action.BLOCKED,
        wanted=Action.ADOPT,
        cause=Cause.GIT,
        reason=f"the inventory {owner} owns it; `forget` it there first, or remove it here",
        source=declaration.place,
        id=live.id,
    )


def _adopt(declaration: Declaration, live: Live, found: Comparison, *, allowed: bool) -> Change:
    change = Change(
        key=declaration.key,
        action=Action.ADOPT,
        cause=Cause.NEW if not found.fields else Cause.GIT,
        reason="it is live already and equal" if not found.fields else "it is taken over",
        source=declaration.place,
        fields=found.fields,
        target=found.target,
        id=live.id,
    )
    if not found.fields:
        return change
    if found.immutable:
        return _immutable(change, found)
    if allowed:
        return change
    hint = f"`--adopt {declaration.key}` or `reconcile: {{adopt: true}}` takes it over"
    return held(change, f"it is live already and differs, and nobody declared it yet; {hint}")


def _update(declaration: Declaration, live: Live, found: Comparison) -> Change:
    why = cause.of_change(field_.cause for field_ in found.fields)
    change = Change(
        key=declaration.key,
        action=Action.UPDATE,
        cause=why,
        reason=_reason(why, live),
        source=declaration.place,
        fields=found.fields,
        target=found.target,
        id=live.id,
    )
    if found.immutable:
        return _immutable(change, found)
    if not found.writes:
        reasons = sorted({field_.held for field_ in found.fields if field_.held})
        return held(change, f"{change.reason}; {'; '.join(reasons)}")
    return change


def _giving_back(change: Change, entry: Entry | None) -> Change:
    """Let what an interrupted apply took away be given back, though the fields themselves are held."""
    if change.action is not Action.BLOCKED or entry is None or entry.notes is None:
        return change
    return replace(
        change,
        action=Action.UPDATE,
        wanted=None,
        target={},
        reason=f"{_INTERRUPTED}; {change.reason}",
    )


def _immutable(change: Change, found: Comparison) -> Change:
    names = ", ".join(found.immutable)
    return held(
        change,
        f"{names} can't be changed on a live object; delete the object, and it is made anew",
    )


def _reason(why: Cause, live: Live) -> str:
    who = f" by {live.updated_by}" if live.updated_by else ""
    return {
        Cause.GIT: "git changed",
        Cause.DRIFT: f"changed in the API{who}",
        Cause.BOTH: f"changed in git and in the API{who}; git's value is taken",
        Cause.SECRET: "a secret changed",
    }[why]


def _remember(
    declaration: Declaration, live: Live, entry: Entry | None, found: Comparison
) -> Proposal | None:
    """Propose an inventory-only change where git agrees with the API but not with our memory."""
    reason = _forgotten(declaration, entry, found)
    if reason is None:
        return None
    return Proposal(_only_known(declaration, live, reason))


def _only_known(declaration: Declaration, live: Live, reason: str) -> Change:
    return Change(
        key=declaration.key,
        action=Action.UPDATE,
        cause=Cause.GIT,
        reason=reason,
        source=declaration.place,
        id=live.id,
    )


def _forgotten(declaration: Declaration, entry: Entry | None, found: Comparison) -> str | None:
    if entry is not None and entry.notes is not None:
        return _INTERRUPTED
    reason = None
    if entry is None or entry.id is None:
        reason = "an interrupted apply had created it"
    elif entry.prune is not declaration.options.prune:
        reason = f"`prune: {str(declaration.options.prune).lower()}` is new"
    elif entry.suspend:
        reason = "it is no longer suspended"
    elif found.stale:
        reason = "git now says what is live already"
    return None if reason is None else f"{reason}; only the inventory is written"


def _remember_suspended(declaration: Declaration, entry: Entry | None) -> Proposal | None:
    if entry is None or entry.suspend:
        return None
    return Proposal(
        Change(
            key=declaration.key,
            action=Action.UPDATE,
            cause=Cause.GIT,
            reason="`suspend: true` is new; only the inventory is written",
            source=declaration.place,
            id=entry.id,
        )
    )


def _disturbing(change: Change, observed: Observed) -> Change:
    if not change.target or change.action is Action.BLOCKED:
        return change
    rules = observed.rules.get(change.key.kind, KindRules())
    return replace(change, effects=rules.write_effects)


def removed(entry: Entry, observed: Observed) -> Proposal:
    """Propose the delete of a resource that git no longer declares."""
    evidence = observed.evidence.get(entry.key)
    gone = evidence is not None and not evidence.present
    live = observed.live.get(entry.key)
    id_ = entry.id or (live.id if live is not None and owns(entry, live) else None)
    return Proposal(
        Change(
            key=entry.key,
            action=Action.DELETE,
            cause=Cause.REMOVED,
            reason=(
                "it is gone from git and from the API; only the inventory is written"
                if gone
                else "git no longer declares it"
            ),
            effects=() if evidence is None else (*evidence.cascades, *evidence.takes.values()),
            id=None if gone else id_,
        )
    )
