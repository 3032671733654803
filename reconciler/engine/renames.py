"""Renames: what git calls by another name now, and the server still knows by the old one.

Where the API can rename, the object keeps its id and all that hangs on it. The inventory is
brought along in two steps, the new name first: whatever is interrupted in between, an entry is
found under its id, and no object is taken for two.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from reconciler.model.desired import Declaration
from reconciler.model.inventory import Entry
from reconciler.model.keys import Key
from reconciler.model.live import Live, Renaming
from reconciler.model.problems import Problem, Severity
from reconciler.model.rules import KindRules


@dataclass(frozen=True, slots=True)
class Scene:
    """What a search for renames looks at.

    Attributes:
        declarations: of the revision.
        entries: of the inventory.
        live: objects, as far as they were listed.
        rules: field tables, by key prefix.
    """

    declarations: Mapping[Key, Declaration]
    entries: Mapping[Key, Entry]
    live: Mapping[Key, Live]
    rules: Mapping[str, KindRules]


def former(declaration: Declaration) -> Key | None:
    """Return the key that a declaration says it had before."""
    name = declaration.options.previous_name
    return None if name is None else declaration.key.renamed(name)


def find(scene: Scene) -> dict[Key, Renaming]:
    """Return what is to be renamed on the server, by the new key: only what we own by its id.

    Where the server has the new name already, only the inventory is to learn it. That needs no word
    of git's: the id tells it, and taken for two objects it would be adopted and deleted at once.
    """
    found: dict[Key, Renaming] = {}
    taken: set[Key] = set()
    for key, declaration in sorted(scene.declarations.items()):
        old = former(declaration)
        if old is None or old in taken or declaration.options.suspend:
            continue
        renaming = _renaming(key, old, scene)
        if renaming is not None:
            found[key] = renaming
            taken.add(old)
    return found | _borne(scene, found)


def _borne(scene: Scene, found: Mapping[Key, Renaming]) -> dict[Key, Renaming]:
    """Return declared keys that objects bear which we own under a key that git no longer knows."""
    former_keys = {renaming.former for renaming in found.values()}
    owned = {
        (key.kind, entry.id): key
        for key, entry in scene.entries.items()
        if entry.id is not None and key not in scene.declarations and key not in former_keys
    }
    borne: dict[Key, Renaming] = {}
    for key in scene.declarations.keys() - scene.entries.keys() - found.keys() if owned else ():
        live = scene.live.get(key)
        old = None if live is None else owned.get((key.kind, live.id))
        if old is not None and not scene.declarations[key].options.suspend:
            borne[key] = Renaming(old, done=True)
    return borne


def _renaming(key: Key, old: Key, scene: Scene) -> Renaming | None:
    entry = scene.entries.get(old)
    rules = scene.rules.get(key.kind, KindRules())
    if entry is None or entry.id is None or not fnmatchcase(str(key), rules.renames):
        return None
    others = (scene.live.get(key), scene.entries.get(key))
    if old in scene.declarations or any(one and one.id != entry.id for one in others):
        return None
    if others[0] is not None:
        return Renaming(old, done=True)
    live = scene.live.get(old)
    return Renaming(old) if live is not None and live.id == entry.id else None


def moved(entries: Mapping[Key, Entry], renamed: Mapping[Key, Renaming]) -> dict[Key, Entry]:
    """Return the entries of an inventory under their new keys."""
    found = dict(entries)
    for key, renaming in renamed.items():
        entry = found.pop(renaming.former, None)
        if entry is not None and key not in found:
            found[key] = replace(entry, key=key)
    return found


def left(put: Iterable[Entry], renamed: Mapping[Key, Renaming]) -> list[Key]:
    """Return the former keys of entries that were written under their new ones."""
    return [renamed[entry.key].former for entry in put if entry.key in renamed]


def warnings(scene: Scene) -> Iterator[Problem]:
    """Warn of a former name that somebody else bears."""
    for declaration in scene.declarations.values():
        old = former(declaration)
        if old in scene.declarations:
            yield Problem(
                declaration.at("reconcile.previous_name"),
                f"{old} is still declared, so that nothing is renamed",
                None,
                Severity.WARNING,
            )
