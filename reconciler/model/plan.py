"""A plan: ordered, serialisable data. Nothing callable hides in it, and it prints no secret."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from reconciler.model.keys import Key
from reconciler.model.places import Place
from reconciler.model.values import ABSENT, Fields

FORMAT_VERSION = 1


class Action(StrEnum):
    """What is to be done with a resource."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    ADOPT = "adopt"
    BLOCKED = "blocked"


class Cause(StrEnum):
    """Why something differs."""

    GIT = "git"
    DRIFT = "drift"
    BOTH = "both"
    SECRET = "secret"  # noqa: S105 - a word
    NEW = "new"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field path that differs.

    Attributes:
        path: dotted, `data.env.A`.
        before: what to show of the live value: JSON, ABSENT, or a redaction mark for a secret.
        after: what to show of the wanted value, likewise.
        cause: git, drift, both or secret.
        source: file:line:col that declares it; None where git doesn't.
        held: the difference stays (drift is reported, or the fight breaker tripped); says why.
        first_seen: of drift, when somebody looked and it was there; None where nobody kept that.
    """

    path: str
    before: Any
    after: Any
    cause: Cause
    source: Place | None = None
    held: str | None = None
    first_seen: datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One resource that differs.

    Attributes:
        key: its name.
        action: what apply will do.
        cause: the whole change's cause.
        reason: one sentence for people; for a blocked one, how to allow it.
        source: where it is (or was) declared.
        wanted: for a blocked one, the action held back.
        fields: what differs.
        effects: what the change will disturb (runs, schedules, cascades).
        target: top-level fields to write, whole, with Secret and Ref leaves. Not serialised.
        id: of the live object, where there is one.
        former: the key by which the server still has it: it is renamed first. Not serialised.
    """

    key: Key
    action: Action
    cause: Cause
    reason: str
    source: Place | None = None
    wanted: Action | None = None
    fields: tuple[FieldChange, ...] = ()
    effects: tuple[str, ...] = ()
    target: Fields = field(default_factory=dict, repr=False)
    id: str | None = None
    former: Key | None = None

    @property
    def drifted(self) -> bool:
        """Whether any of it changed behind git's back."""
        return self.cause in (Cause.DRIFT, Cause.BOTH) or any(
            f.cause in (Cause.DRIFT, Cause.BOTH) for f in self.fields
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What would change.

    Attributes:
        revision: of the tree.
        digest: `sha256:…` over manifests (by content) and the live state concerned.
        inventory: name of the inventory.
        server: what the plan was made against, for people.
        changes: sorted by key.
        levels: keys to write, level by level; deletes after the rest, reversed.
        unchanged: number of resources in step.
        reads: requests that planning took.
        writes: requests that applying will take.
        notices: warnings and holds of the plan as a whole.
        environment: name of the environment, "" if none.
        scope: the keys that were looked at; None if all were. Not serialised.
    """

    revision: str
    digest: str
    inventory: str
    server: str
    changes: tuple[Change, ...]
    levels: tuple[tuple[Key, ...], ...] = ()
    unchanged: int = 0
    reads: int = 0
    writes: int = 0
    notices: tuple[str, ...] = ()
    environment: str = ""
    scope: frozenset[Key] | None = None

    def count(self, action: Action) -> int:
        """Count the changes of one action."""
        return sum(change.action is action for change in self.changes)

    @property
    def empty(self) -> bool:
        """Whether nothing differs, holds included."""
        return not self.changes

    @property
    def effective(self) -> tuple[Change, ...]:
        """The changes that apply will carry out."""
        return tuple(c for c in self.changes if c.action is not Action.BLOCKED)

    @property
    def only_heals(self) -> bool:
        """Whether all that apply will do is to undo what happened behind git's back."""
        return all(
            {change.cause, *(field.cause for field in change.fields)} == {Cause.DRIFT}
            for change in self.effective
        )

    def summary(self) -> dict[str, int]:
        """Return the counts of the JSON form."""
        counts = {action.value: self.count(action) for action in Action}
        return {
            **{name: counts[name] for name in ("create", "update", "delete", "adopt")},
            "unchanged": self.unchanged,
            "blocked": counts["blocked"],
            "drift": sum(change.drifted for change in self.changes),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the public JSON form (DESIGN section 4)."""
        return {
            "format_version": FORMAT_VERSION,
            "revision": self.revision,
            "digest": self.digest,
            "inventory": self.inventory,
            "environment": self.environment,
            "server": self.server,
            "summary": self.summary(),
            "changes": [change_to_json(change) for change in self.changes],
            "notices": list(self.notices),
            "requests": {"reads": self.reads, "writes": self.writes},
        }


def change_to_json(change: Change) -> dict[str, Any]:
    """Return the JSON form of one change."""
    return {
        "key": str(change.key),
        "action": change.action.value,
        "wanted": None if change.wanted is None else change.wanted.value,
        "cause": change.cause.value,
        "reason": change.reason,
        "source": None if change.source is None else str(change.source),
        "effects": list(change.effects),
        "fields": [_field_to_json(f) for f in change.fields],
    }


def _field_to_json(change: FieldChange) -> dict[str, Any]:
    return {
        "path": change.path,
        "before": None if change.before is ABSENT else change.before,
        "after": None if change.after is ABSENT else change.after,
        "cause": change.cause.value,
        "source": None if change.source is None else str(change.source),
        **({"held": change.held} if change.held else {}),
        **({"first_seen": change.first_seen.isoformat()} if change.first_seen else {}),
    }
