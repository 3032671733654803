"""A look at only what a new revision touches, by whoever has looked at everything before.

What it takes for granted (the ids of other objects, what other inventories hold) was true when all of
it was looked at last. So it judges only the plain case, new objects and changed ones that we own, and
says so wherever it meets anything else: deletes need proof, and drift, renames and adoptions a whole
look.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from reconciler.engine.access import Access
from reconciler.engine.observe import aligned, conform
from reconciler.errors import InvalidManifests
from reconciler.kinds.base import Session
from reconciler.model.desired import Declaration, DesiredState
from reconciler.model.inventory import Entry
from reconciler.model.keys import Key
from reconciler.model.live import Live, Observed
from reconciler.model.plan import Plan
from reconciler.model.problems import Severity
from reconciler.model.report import Report, Result
from reconciler.model.rules import KindRules
from reconciler.model.server import ServerFacts
from reconciler.model.values import UnknownRef, Value, leaves, references
from reconciler.runtime.together import together

_FEW = 20
_SHARE = 10
"""Up to `_FEW` objects, or one in `_SHARE`, are read one by one; for more a listing is cheaper."""


@dataclass(frozen=True)
class Known:
    """What a look leaves behind for the next one.

    Attributes:
        desired: the revision that is in force, as git has it.
        session: with the ids of all that was seen.
        foreign: ids that other inventories hold, with their names.
        shards: how many documents our inventory was spread over; with another
            number of them it takes a whole look.
        apart: what differs and stays so: held back, or drift that is only reported.
    """

    desired: DesiredState
    session: Session
    foreign: dict[str, str]
    shards: int
    apart: frozenset[Key] = frozenset()

    def after(self, desired: DesiredState, report: Report) -> "Known":
        """Return what is known after a narrow look has been carried out."""
        apart = (self.apart - (report.plan.scope or frozenset())) | left_apart(report)
        return replace(self, desired=desired, apart=apart)


def left_apart(report: Report) -> frozenset[Key]:
    """Return the keys of what an apply has left as it is."""
    return frozenset(
        one.change.key
        for one in report.outcomes
        if one.result is Result.HELD or any(field.held for field in one.change.fields)
    )


def touched(
    known: Known, desired: DesiredState, rules: Mapping[str, KindRules]
) -> frozenset[Key] | None:
    """Return the keys that are new or changed in a revision; None if it takes a whole look.

    Args:
        known: from the last look.
        desired: the new revision.
        rules: field tables by key prefix, for this server.
    """
    before = known.desired
    same = (
        before.policy == desired.policy
        and before.origin == desired.origin
        and before.secrets_read
        and desired.secrets_read
        and desired.verified
        and before.prints.keys() <= desired.prints.keys()  # otherwise something is to be deleted
        and desired.prints.keys() == desired.declarations.keys()
    )
    if not same:
        return None
    found = frozenset(k for k, print_ in desired.prints.items() if before.prints.get(k) != print_)
    options = [desired.declarations[key].options for key in found]
    if any(one.previous_name or one.suspend or one.adopt for one in options):
        return None
    if _is_followed(found, desired, rules):
        return None
    return found if len(found) <= max(_FEW, len(desired.declarations) // _SHARE) else None


def _is_followed(
    keys: frozenset[Key], desired: DesiredState, rules: Mapping[str, KindRules]
) -> bool:
    """Tell whether anything untouched is judged by what is touched: a block by its type, say."""
    kinds = {each.kind for rule in rules.values() for each in rule.follows}
    if kinds.isdisjoint(key.kind for key in keys):
        return False
    return any(
        not keys.isdisjoint(rules[key.kind].needed(key, one.fields))
        for key, one in desired.declarations.items()
        if key not in keys and key.kind in rules
    )


async def observe(
    desired: DesiredState, access: Access, known: Known, keys: frozenset[Key]
) -> tuple[DesiredState, Observed] | None:
    """Look at the server as far as a plan for these keys needs it. Call it under the lease.

    Args:
        desired: the new revision.
        access: the server, with the ids of `known.session`.
        known: from the last look.
        keys: what the revision touches.

    Returns:
        The touched part of the desired state in the server's form, and what is live of it; None if
        it takes a whole look.

    Raises:
        InvalidManifests: the server can't hold something.
        ForeignInventory: the inventory belongs to another repository or folder.
        Transient: the server does not answer.
    """
    inventory = await access.store.load_some(keys, desired.origin, known.shards)
    if inventory is None:
        return None
    part = replace(desired, declarations={key: desired.declarations[key] for key in sorted(keys)})
    declarations, problems = await conform(part, access)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise InvalidManifests(sorted(problems))
    if not _all_known(declarations.values(), access, keys):
        return None
    found = await together(
        partial(_look, key, inventory.entries.get(key), access) for key in declarations
    )
    if not all(one.plain for one in found):
        return None
    live = {one.live.key: one.live for one in found if one.live is not None}
    for one in live.values():
        access.session.index.add(one.key, one.id)
    facts = access.session.facts
    part = replace(
        part,
        declarations={k: aligned(one, live.get(k), access) for k, one in declarations.items()},
        warnings=(*part.warnings, *problems),
    )
    return part, Observed(
        server=facts,
        live=live,
        complete=True,
        inventory=inventory,
        rules=access.rules(),
        foreign=known.foreign,
        reads=access.session.api.counts.reads,
        fresh=True,
    )


def nothing(known: Known, desired: DesiredState, inventory: str, server: ServerFacts) -> Plan:
    """Return the plan of a revision that touches no resource: of flow code, say."""
    plan = Plan(desired.revision, desired.digest, inventory, str(server), ())
    return told(plan, known, desired, frozenset())


def told(plan: Plan, known: Known, desired: DesiredState, keys: frozenset[Key]) -> Plan:
    """Return a plan that says what it is about, and counts what else is in step."""
    differing = {change.key for change in plan.changes} | (known.apart - keys)
    unchanged = len(desired.declarations.keys() - differing)
    return replace(plan, unchanged=unchanged, scope=keys)


def _all_known(declarations: Iterable[Declaration], access: Access, keys: frozenset[Key]) -> bool:
    ids = access.session.index.ids
    return all(
        ref.key in keys or ref.key in ids for one in declarations for ref in references(one.fields)
    )


@dataclass(frozen=True, slots=True)
class _Looked:
    """What was found of one key: whether it is a plain case, and its live object."""

    plain: bool
    live: Live | None = None


async def _look(key: Key, entry: Entry | None, access: Access) -> _Looked:
    kind = access.kind(key)
    if entry is None:
        return _Looked(plain=await kind.find(access.session, key) is None)
    if entry.id is None or entry.notes is not None or entry.suspend:
        return _Looked(plain=False)
    live = await kind.read(access.session, key, entry.id)
    plain = live is not None and live.key == key and not _unknown(live.fields)
    return _Looked(plain, live)


def _unknown(value: Value) -> bool:
    """Tell whether a live object refers to something that nobody has seen yet."""
    return any(
        isinstance(part, UnknownRef)
        for _, leaf in leaves(value)
        for part in (leaf if isinstance(leaf, list | tuple) else [leaf])
    )
