"""What is live, and what we know about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from reconciler.model.inventory import Inventory
from reconciler.model.keys import Key
from reconciler.model.rules import KindRules
from reconciler.model.server import ServerFacts
from reconciler.model.values import Fields


@dataclass(frozen=True, slots=True)
class Live:
    """A live object, normalised as its kind does it for the server's version.

    Attributes:
        key: its name.
        id: the server's id.
        fields: every field that the kind manages, normalised; secret leaves are Secret or Masked.
        created: by the server's clock.
        updated: by the server's clock. No proof of a change: on 2.20 every poll moves it.
        updated_by: who, where the API knows.
        raw: what else of the API's answer the kind needs for a write. Never printed.
    """

    key: Key
    id: str
    fields: Fields
    created: datetime | None = None
    updated: datetime | None = None
    updated_by: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about an object that may be deleted, from requests of its own.

    Attributes:
        present: its own GET found it (False: its own GET answered 404).
        cascades: what the server would delete with it, counted, for people; empty if nothing.
        active_runs: flow runs that are pending, running or cancelling.
        takes: objects that the server would delete with it and that a plan may itself delete or
            point elsewhere first (a block's deployments), by id, described for people. `cascades`
            then tells only what goes beyond them (the history of flow runs).
    """

    present: bool
    cascades: tuple[str, ...] = ()
    active_runs: int = 0
    takes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Renaming:
    """An object that git calls by another name than the inventory does.

    Attributes:
        former: the key that it had.
        done: the server has the new name already; only the inventory doesn't.
    """

    former: Key
    done: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """The live half of a plan's input.

    Attributes:
        server: the server.
        live: by key; everything that the kinds in question list; what git renames by its new key.
        complete: every page of every listing was read.
        inventory: what we own and applied last; what git renames by its new key.
        rules: field tables by key prefix, for this server.
        foreign: ids held by other inventories, with that inventory's name.
        evidence: for every owned key that git no longer declares, and for every cascade.
        reads: requests made so far.
        gaps: what could not be read, for people; empty if `complete`.
        renamed: what git calls by another name now, by its new key.
        fresh: it was seen under the very lease under which it is acted on: nobody has written since.
    """

    server: ServerFacts
    live: Mapping[Key, Live]
    complete: bool
    inventory: Inventory
    rules: Mapping[str, KindRules]
    foreign: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[Key, Evidence] = field(default_factory=dict)
    reads: int = 0
    gaps: tuple[str, ...] = ()
    renamed: Mapping[Key, Renaming] = field(default_factory=dict)
    fresh: bool = False
