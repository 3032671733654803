"""What is live: listings, the inventory, references outside the tree, and evidence for deletes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from reconciler.engine import renames
from reconciler.engine.access import Access
from reconciler.engine.plan import PlanOptions, selected
from reconciler.engine.resource import owns
from reconciler.errors import InvalidManifests, NotFound, Transient
from reconciler.model.desired import Declaration, DesiredState
from reconciler.model.inventory import Entry, Inventory
from reconciler.model.keys import Key
from reconciler.model.live import Evidence, Live, Observed, Renaming
from reconciler.model.near import did_you_mean
from reconciler.model.paths import leaf_paths
from reconciler.model.problems import Problem, Severity
from reconciler.model.values import Ref, references
from reconciler.runtime.together import together


@dataclass
class _Listing:
    """Live objects by key, and what could not be read."""

    live: dict[Key, Live] = field(default_factory=dict)
    gaps: dict[str, str] = field(default_factory=dict)


async def observe(
    desired: DesiredState, access: Access, options: PlanOptions | None = None
) -> tuple[DesiredState, Observed]:
    """Look at the server as far as a plan for this desired state needs it.

    Returns:
        The desired state in the server's form (conformed and aligned), and what is live.

    Raises:
        InvalidManifests: the server can't hold something, or a reference leads nowhere.
        ForeignInventory: the inventory belongs to another repository or folder.
        Forbidden: a permission is missing.
        Transient: the server does not answer.
    """
    options = options or PlanOptions()
    loaded = await access.store.load(desired.origin, take_over=options.take_over)
    declarations, problems = await conform(desired, access)
    facts = access.session.facts
    rules = access.rules()
    listing = await _list(_prefixes(declarations.values(), loaded.inventory), access)
    scene = renames.Scene(declarations, loaded.inventory.entries, listing.live, rules)
    problems += renames.warnings(scene)
    renamed = renames.find(scene)
    inventory = replace(loaded.inventory, entries=renames.moved(loaded.inventory.entries, renamed))
    _rename(renamed, listing, access)
    await _complete(declarations, inventory, listing, access)
    problems += await _look_up_references(declarations, listing, access)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise InvalidManifests(sorted(problems))
    desired = replace(
        desired,
        declarations={
            key: aligned(declaration, listing.live.get(key), access)
            for key, declaration in declarations.items()
        },
        warnings=(*desired.warnings, *problems),
    )
    wanted = selected(desired, inventory, options.targets)
    return desired, Observed(
        server=facts,
        live=listing.live,
        complete=not listing.gaps,
        inventory=inventory,
        rules=rules,
        foreign=loaded.foreign,
        evidence=await _evidence(desired, inventory, wanted, listing, access),
        reads=access.session.api.counts.reads,
        gaps=tuple(f"{prefix}: {reason}" for prefix, reason in listing.gaps.items()),
        renamed=renamed,
    )


async def conform(
    desired: DesiredState, access: Access
) -> tuple[dict[Key, Declaration], list[Problem]]:
    """Bring declarations into the server's form, and say what it can't hold."""
    found: dict[Key, Declaration] = {}
    problems: list[Problem] = []
    # In the order of kinds: a block is judged by the type that the same tree may declare.
    order = {prefix: number for number, prefix in enumerate(access.kinds)}
    declared = sorted(desired.declarations.items(), key=lambda one: order.get(one[0].kind, -1))
    for key, declaration in declared:
        conformed, said = await access.kind(key).conform(declaration, access.session)
        found[key] = conformed
        problems += said
    return found, problems


def _prefixes(declarations: Iterable[Declaration], inventory: Inventory) -> set[str]:
    """The kinds that matter: declared, owned, or referred to."""
    found = {key.kind for key in inventory.entries}
    for declaration in declarations:
        found.add(declaration.key.kind)
        found |= {ref.key.kind for ref in references(declaration.fields)}
    return found


async def _list(prefixes: set[str], access: Access) -> _Listing:
    """List one kind after the other, since what is referred to must be known first."""
    listing = _Listing()
    for prefix, kind in access.kinds.items():
        if prefix not in prefixes:
            continue
        try:
            async for live in kind.listing(access.session):
                _note(live, listing, access)
        except Transient as error:
            listing.gaps[prefix] = error.message
    return listing


def _note(live: Live, listing: _Listing, access: Access) -> None:
    listing.live[live.key] = live
    access.session.index.add(live.key, live.id)


def _rename(renamed: Mapping[Key, Renaming], listing: _Listing, access: Access) -> None:
    for key, renaming in renamed.items():
        if not renaming.done:
            live = listing.live.pop(renaming.former)
            access.session.index.drop(renaming.former)
            _note(replace(live, key=key), listing, access)


async def _complete(
    declarations: dict[Key, Declaration], inventory: Inventory, listing: _Listing, access: Access
) -> None:
    """Ask for each object that should be there but was not listed, by a GET of its own."""
    missing = [
        key
        for key in {**declarations, **inventory.entries}
        if key not in listing.live and key.kind in access.kinds
    ]
    calls = [
        partial(_ask, key, inventory.entries.get(key), listing, access)
        for key in missing
        if key in inventory.entries or key.kind in listing.gaps
    ]
    for live in await together(calls):
        if live is not None:
            _note(live, listing, access)


async def _ask(key: Key, entry: Entry | None, listing: _Listing, access: Access) -> Live | None:
    kind = access.kind(key)
    live = None
    if entry is not None and entry.id is not None:
        live = await kind.read(access.session, key, entry.id)
    elif key.kind in listing.gaps:
        live = await kind.find(access.session, key)
    return live if live is not None and live.key == key else None


async def _look_up_references(
    declarations: dict[Key, Declaration], listing: _Listing, access: Access
) -> list[Problem]:
    """Find the targets that are not in the tree; those that are nowhere are problems."""
    problems = []
    for declaration in declarations.values():
        for path, ref in _outside(declaration, declarations):
            if ref.key in listing.live:
                continue
            kind = access.kinds.get(ref.key.kind)
            live = None if kind is None else await kind.find(access.session, ref.key)
            if live is not None:
                _note(live, listing, access)
                continue
            known = {str(key) for key in (*declarations, *listing.live) if key.kind == ref.key.kind}
            problems.append(
                Problem(
                    declaration.at(path),
                    f"{ref.key} is neither in this tree nor on the server",
                    did_you_mean(str(ref.key), known),
                )
            )
    return problems


def _outside(
    declaration: Declaration, declarations: dict[Key, Declaration]
) -> Iterator[tuple[str, Ref]]:
    if all(ref.key in declarations for ref in references(declaration.fields)):
        return  # of most, and much faster than with their paths
    for path, leaf in leaf_paths(declaration.fields):
        for ref in references(leaf):
            if ref.key not in declarations:
                yield path, ref


def aligned(declaration: Declaration, live: Live | None, access: Access) -> Declaration:
    """Return a declaration with what git leaves open filled in from the live object."""
    if live is None:
        return declaration
    fields = access.kind(declaration.key).align(declaration.fields, live.fields)
    if fields is declaration.fields:
        return declaration
    return replace(declaration, fields=fields, written=declaration.fields)


async def _evidence(
    desired: DesiredState,
    inventory: Inventory,
    wanted: frozenset[Key],
    listing: _Listing,
    access: Access,
) -> dict[Key, Evidence]:
    names = {live.id: key for key, live in listing.live.items()}
    doomed = [
        entry
        for key, entry in inventory.entries.items()
        if key in wanted and key not in desired.declarations and key.kind in access.kinds
    ]
    found = await together(
        partial(_evidence_of, entry, inventory, names.get(entry.id or ""), listing, access)
        for entry in doomed
    )
    return {
        entry.key: evidence
        for entry, evidence in zip(doomed, found, strict=True)
        if evidence is not None
    }


async def _evidence_of(
    entry: Entry, inventory: Inventory, name: Key | None, listing: _Listing, access: Access
) -> Evidence | None:
    held = None if name is None or name == entry.key else inventory.entries.get(name)
    if held is not None and held.id == entry.id:
        return Evidence(present=False)  # left of a rename: the object has an entry by its new name
    live = listing.live.get(entry.key)
    id_ = entry.id or (live.id if live is not None and owns(entry, live) else None)
    if id_ is None:
        return Evidence(present=False)  # an intent that came to nothing
    try:
        return await access.kind(entry.key).evidence(access.session, entry.key, id_)
    except NotFound:
        return Evidence(present=False)
    except Transient:
        return None  # no proof: the guard holds it
