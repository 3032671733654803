"""Levels of work: what is referred to comes first, and deletes come last, in reverse (DESIGN 6.8)."""

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from reconciler.model.keys import Key
from reconciler.model.live import Live
from reconciler.model.plan import Action, Change
from reconciler.model.rules import KindRules
from reconciler.model.values import Fields, references

Needs = Mapping[Key, frozenset[Key]]
"""For each change, the changes that have to succeed before it."""


Rules = Mapping[str, KindRules]
"""By the first word of keys."""


def needs(changes: Sequence[Change], live: Mapping[Key, Live], rules: Rules) -> Needs:
    """Return what each change waits for.

    A write waits for what it refers to, or names. A delete waits for every change of an object that
    refers to the doomed one on the server, since Prefect would delete or cripple it too.
    """
    keys = {change.key for change in changes}
    referrers = _referrers(changes, live, rules)
    found = {}
    for change in changes:
        if change.action is Action.DELETE:
            found[change.key] = frozenset(referrers.get(change.key, set()))
        else:
            targets = set(_targets(change.key, change.target, rules))
            found[change.key] = frozenset((targets & keys) - {change.key})
    return found


def _targets(key: Key, fields: Fields, rules: Rules) -> Iterator[Key]:
    yield from (ref.key for ref in references(fields))
    if key.kind in rules:
        yield from rules[key.kind].needed(key, fields)


def _referrers(
    changes: Sequence[Change], live: Mapping[Key, Live], rules: Rules
) -> dict[Key, set[Key]]:
    found: dict[Key, set[Key]] = {}
    for change in changes:
        known = live.get(change.key)
        if known is not None:
            for key in _targets(change.key, known.fields, rules):
                if key != change.key:
                    found.setdefault(key, set()).add(change.key)
    return found


def levels(
    changes: Sequence[Change], live: Mapping[Key, Live], rules: Rules
) -> tuple[tuple[Key, ...], ...]:
    """Sort changes into levels; those of one level may be carried out at the same time."""
    waits = needs(changes, live, rules)
    writes = {c.key for c in changes if c.action is not Action.DELETE}
    deletes = {c.key for c in changes if c.action is Action.DELETE}
    return (*_sorted(writes, waits), *_sorted(deletes, waits))


def _sorted(keys: set[Key], waits: Needs) -> list[tuple[Key, ...]]:
    sorter = TopologicalSorter({key: waits[key] & keys for key in keys})
    try:
        sorter.prepare()
    except CycleError:
        # Manifests with a cycle never come here; objects on a server may refer to each other in
        # a circle, and then no order of deleting them is better than another.
        return [tuple(sorted(keys))]
    found = []
    while sorter.is_active():
        ready = sorter.get_ready()
        found.append(tuple(sorted(ready)))
        sorter.done(*ready)
    return found
