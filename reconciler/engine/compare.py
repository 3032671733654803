"""One declared resource against its live object: what differs, why, and what to write."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from reconciler.engine import cause, diff, marks
from reconciler.model import paths
from reconciler.model.desired import Declaration
from reconciler.model.fingerprint import Fingerprinter
from reconciler.model.inventory import Entry, FieldMark
from reconciler.model.plan import Cause, FieldChange
from reconciler.model.rules import KindRules
from reconciler.model.values import ABSENT, Fields, Value, contains_secret, join

_STOPPED = "healed three times within an hour: something else writes it; left until git changes it"
_REPORTED = "drift is reported here, not healed"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a declared resource and its live object have to say to each other.

    Attributes:
        fields: what differs, by path; those with `held` stay as they are.
        target: top-level fields to write, whole.
        immutable: fields that differ and can't be changed.
        stale: the inventory remembers other desired values than git has now, though it may be
            that nothing differs (git took over what was live already).
        prints: for each of `fields` the keyed fingerprints before and after.
    """

    fields: tuple[FieldChange, ...]
    target: Fields
    immutable: tuple[str, ...]
    stale: bool
    prints: tuple[tuple[str, str], ...] = ()

    @property
    def writes(self) -> bool:
        """Whether anything is to be written."""
        return bool(self.target)


@dataclass(frozen=True)
class Comparer:
    """Compares the fields of one resource.

    Attributes:
        declaration: what git wants, aligned.
        live: the live fields.
        entry: what we remember of the key, be it of an object that is no more.
        rules: of the kind, on this server.
        fingerprinter: of the inventory.
        owned: whether the live object is the one that we remember.
        report: drift is reported, not healed.
    """

    declaration: Declaration
    live: Fields
    entry: Entry | None
    rules: KindRules
    fingerprinter: Fingerprinter
    owned: bool = True
    report: bool = False

    def compare(self) -> Comparison:
        """Return every difference and the fields to write."""
        wanted = self._wanted()
        settled = {
            name: diff.settle(
                value,
                self.live.get(name, ABSENT),
                join("", name),
                trusted=lambda path: not self._git_moved(path),
            )
            for name, value in wanted.items()
        }
        found = [
            (keys, self._change(keys, before, after))
            for name, (after, before) in settled.items()
            for keys in diff.differing({name: before}, {name: after}, self.fingerprinter)
        ]
        written = {keys[0] for keys, change in found if change.held is None}
        target = {name: self._target(wanted[name], name, found) for name in sorted(written)}
        return Comparison(
            fields=tuple(change for _, change in found),
            target=target,
            immutable=tuple(name for name in target if self._immutable(name)),
            stale=self._stale(),
            prints=tuple(self._prints(keys, settled) for keys, _ in found),
        )

    def _immutable(self, name: str) -> bool:
        rule = self.rules.fields.get(name)
        return rule is not None and rule.immutable

    def _wanted(self) -> dict[str, Value]:
        """Declared fields with ignored paths as they are live; and dropped ones at their default."""
        ignore = self.declaration.options.ignore
        found = {
            name: self._overlaid(value, name)
            for name, value in self.declaration.fields.items()
            if not marks.ignored(name, ignore)
        }
        for name in sorted(self._declared_last) if self.owned else ():
            rule = self.rules.fields.get(name)
            gone = name not in self.declaration.fields and not marks.ignored(name, ignore)
            if gone and rule is not None and not rule.released:
                found[name] = rule.default
        return found

    def _overlaid(self, value: Value, name: str) -> Value:
        for path in self.declaration.options.ignore:
            keys = paths.split(path)
            if keys[:1] == (name,) and len(keys) > 1:
                value = paths.put(value, keys[1:], paths.at(self.live, keys))
        return value

    def _change(self, keys: tuple[str, ...], before: Value, after: Value) -> FieldChange:
        path = paths.spell(keys)
        git, drift = self._git_moved(path), self._live_moved(path, keys[0])
        old, new = paths.at(before, keys[1:]), paths.at(after, keys[1:])
        was = self._held_secret(path)
        secret = was or contains_secret(old) or contains_secret(new) or self._leaks(old, new)
        why = cause.of_field(git=git, drift=drift, secret=was and contains_secret(new))
        declared = keys[0] in self.declaration.fields
        return FieldChange(
            path=path,
            before=diff.shown(old, old, secret=secret),
            after=diff.shown(new, old, secret=secret),
            cause=why,
            source=self.declaration.at(path) if declared else None,
            held=self._held(path, why),
        )

    @cached_property
    def _declared_last(self) -> frozenset[str]:
        return marks.declared_last(self.entry, self.fingerprinter)

    @cached_property
    def _desired_last(self) -> cause.Prints:
        return marks.last_desired(self.entry, self.fingerprinter)

    @cached_property
    def _desired_now(self) -> cause.Prints:
        written = marks.managed(self.declaration)
        return marks.prints(written, self.declaration.options.ignore, self.fingerprinter)

    @cached_property
    def _live_last(self) -> cause.Prints:
        return marks.last_live(self.entry, self.fingerprinter)

    @cached_property
    def _live_now(self) -> cause.Prints:
        managed = self._declared_last | self.declaration.fields.keys()
        fields = {name: value for name, value in self.live.items() if name in managed}
        return marks.prints(fields, (), self.fingerprinter)

    def _git_moved(self, path: str) -> bool:
        return not self.owned or cause.moved(self._desired_last, self._desired_now, path)

    def _live_moved(self, path: str, name: str) -> bool:
        """Whether the live side changed; nothing is known of a field not managed before."""
        unread = any(paths.related(hidden, path) for hidden in marks.masked(self.live))
        known = self.owned and name in self._declared_last and not unread
        return known and cause.moved(self._live_last, self._live_now, path)

    def _held_secret(self, path: str) -> bool:
        remembered = {} if self.entry is None else self.entry.fields
        return any(
            mark.secret and paths.related(marked, path) for marked, mark in remembered.items()
        )

    def _leaks(self, *values: Value) -> bool:
        known = diff.Known(self.declaration.fields, self.live)
        return any(known.inside(value) for value in values)

    def _held(self, path: str, why: Cause) -> str | None:
        if why is not Cause.DRIFT:
            return None
        if self.report:
            return _REPORTED
        return _STOPPED if any(map(_fights, self._marks_at(path))) else None

    def _marks_at(self, path: str) -> Iterator[FieldMark]:
        remembered = {} if self.entry is None else self.entry.fields
        return (mark for marked, mark in remembered.items() if paths.related(marked, path))

    def _target(
        self, value: Value, name: str, found: list[tuple[tuple[str, ...], FieldChange]]
    ) -> Value:
        for keys, change in found:
            if keys[0] == name and change.held is not None:
                value = paths.put(paths.opened(value), keys[1:], paths.at(self.live, keys))
        return value

    def _stale(self) -> bool:
        unknown = marks.masked(marks.managed(self.declaration))
        now, last = (
            {path: mark for path, mark in side.items() if not marks.ignored(path, unknown)}
            for side in (self._desired_now, self._desired_last)
        )
        remembered = {} if self.entry is None else self.entry.fields
        secret = marks.secrets(marks.managed(self.declaration)) & now.keys() & remembered.keys()
        return now != last or any(not remembered[path].secret for path in secret)

    def _prints(
        self, keys: tuple[str, ...], settled: Mapping[str, tuple[Value, Value]]
    ) -> tuple[str, str]:
        after, before = (paths.at(side, keys[1:]) for side in settled[keys[0]])
        return self.fingerprinter.of(before), self.fingerprinter.of(after)


def _fights(mark: FieldMark) -> bool:
    if len(mark.heals) < marks.HEALS:
        return False
    first, last = (datetime.fromisoformat(mark.heals[i]) for i in (-marks.HEALS, -1))
    return (last - first).total_seconds() <= marks.HEAL_SECONDS
