"""What the inventory remembers of a resource's fields: made after an apply, read by the next plan."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from reconciler.engine.cause import Prints
from reconciler.model.desired import Declaration
from reconciler.model.fingerprint import Fingerprinter
from reconciler.model.inventory import Entry, FieldMark
from reconciler.model.paths import leaf_paths, related, split, within
from reconciler.model.plan import Cause, FieldChange
from reconciler.model.values import Fields, contains_masked, contains_secret

HEALS = 3  # so many heals within HEAL_SECONDS and a field is left alone (DESIGN 6.11)
HEAL_SECONDS = 3600.0


def managed(declaration: Declaration) -> Fields:
    """Return the fields as git wrote them, which is what 'git changed it' is decided by."""
    return declaration.fields if declaration.written is None else declaration.written


def ignored(path: str, ignore: Iterable[str]) -> bool:
    """Tell whether a field path is among those never compared nor written."""
    return any(within(path, around) for around in ignore)


def prints(fields: Fields, ignore: Iterable[str], fingerprinter: Fingerprinter) -> dict[str, str]:
    """Fingerprint every leaf that is not ignored."""
    return {
        path: fingerprinter.of(leaf)
        for path, leaf in leaf_paths(fields)
        if not ignored(path, ignore)
    }


def secrets(fields: Fields) -> frozenset[str]:
    """Return the leaf paths that hold a secret."""
    return frozenset(path for path, leaf in leaf_paths(fields) if contains_secret(leaf))


def masked(fields: Fields) -> frozenset[str]:
    """Return the leaf paths whose secret could not be read."""
    return frozenset(path for path, leaf in leaf_paths(fields) if contains_masked(leaf))


def last_desired(entry: Entry | None, fingerprinter: Fingerprinter) -> Prints:
    """Return the fingerprints of what git declared at the last apply."""
    absent = fingerprinter.absent
    marks = {} if entry is None else entry.fields
    return {path: mark.desired for path, mark in marks.items() if mark.desired != absent}


def last_live(entry: Entry | None, fingerprinter: Fingerprinter) -> Prints:
    """Return the fingerprints of what was live after the last apply."""
    absent = fingerprinter.absent
    marks = {} if entry is None else entry.fields
    return {path: mark.live for path, mark in marks.items() if mark.live != absent}


def declared_last(entry: Entry | None, fingerprinter: Fingerprinter) -> frozenset[str]:
    """Return the top-level fields that git declared at the last apply."""
    return frozenset(split(path)[0] for path in last_desired(entry, fingerprinter))


def fields_of(
    declaration: Declaration,
    live: Fields,
    entry: Entry | None,
    fingerprinter: Fingerprinter,
) -> dict[str, FieldMark]:
    """Return the marks to remember for a resource as it is now.

    Marks of paths that once held a secret stay, so that they are redacted for ever; so do those
    of healed ones, so that a fight is seen.
    """
    ignore = declaration.options.ignore
    wanted = managed(declaration)
    seen = {name: live[name] for name in wanted if name in live}
    desired, found = (prints(side, ignore, fingerprinter) for side in (wanted, seen))
    secret = secrets(wanted) | secrets(seen)
    old: Mapping[str, FieldMark] = {} if entry is None else entry.fields
    kept = {path for path, mark in old.items() if mark.secret or mark.heals}
    absent = fingerprinter.absent
    marks = {}
    for path in sorted(desired.keys() | found.keys() | kept):
        before = old.get(path)
        mark = FieldMark.of(
            desired.get(path, absent), found.get(path, absent), secret=path in secret
        )
        if before is not None:
            same = before.desired == mark.desired
            mark = replace(
                mark,
                secret=mark.secret or before.secret,
                heals=before.heals if same else (),
            )
        marks[path] = mark
    return marks


def with_changes(
    marks: Mapping[str, FieldMark],
    entry: Entry | None,
    changes: Iterable[FieldChange],
    now: datetime,
    fingerprinter: Fingerprinter,
) -> dict[str, FieldMark]:
    """Add to marks what an apply did: heals are counted, and what was held stays as it was."""
    found = dict(marks)
    old: Mapping[str, FieldMark] = {} if entry is None else entry.fields
    absent = fingerprinter.absent
    for change in changes:
        if change.held is not None:
            for path in [path for path in found if related(path, change.path)]:
                del found[path]
            found |= {path: mark for path, mark in old.items() if related(path, change.path)}
        elif change.cause is Cause.DRIFT:
            mark = found.get(change.path, FieldMark(absent, absent))
            heals = (*mark.heals, now.isoformat())[-HEALS:]
            found[change.path] = replace(mark, heals=heals)
    return found
