"""Live objects to manifests: whatever a server holds that our kinds can declare."""

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.controller.pipeline import Desk
from reconciler.engine.inventory import secret_paths
from reconciler.kinds.base import Kind, Session
from reconciler.manifests.writing import write_yaml
from reconciler.model.desired import Document
from reconciler.model.exported import Exported
from reconciler.model.keys import Key
from reconciler.model.paths import veiled
from reconciler.model.places import Place
from reconciler.model.problems import Severity
from reconciler.model.values import Value

_OURS = "${{"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Choice:
    """What to export; everything by default.

    Attributes:
        kinds: `kind:` words, in any case.
        keys: globs over keys.
    """

    kinds: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def has(self, kind: Kind) -> bool:
        """Tell whether a kind is wanted."""
        return not self.kinds or kind.name.lower() in {one.lower() for one in self.kinds}

    def takes(self, key: Key) -> bool:
        """Tell whether a key is wanted."""
        return not self.keys or any(key.matches(pattern) for pattern in self.keys)


@dataclass
class Tree:
    """Manifests, ready to be written.

    Attributes:
        files: their texts by path.
        secrets: names of the secrets that must be provided, with the key and field of each.
        notes: what could not be said, for people.
        keys: what was exported.
    """

    files: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)


async def export(desk: Desk, choice: Choice) -> Tree:
    """Write all that a server holds and our kinds know as manifests. No secret is read.

    What an inventory knows to have come from a secret is one again, even where the API shows it.

    Raises:
        ReconcilerError: the server can't be read.
    """
    session = Session(desk.api, secrets=False, veiled=await secret_paths(desk.api))
    found = [one for kind in desk.kinds async for one in _described(kind, session, choice)]
    tree = Tree()
    for kind, exported in sorted(found, key=lambda pair: pair[1].key):
        _add(tree, kind, exported)
    return tree


async def _described(
    kind: Kind, session: Session, choice: Choice
) -> AsyncIterator[tuple[Kind, Exported]]:
    # Listed even if not wanted: what others refer to must be known by its key.
    lives = [live async for live in kind.listing(session)]
    for live in lives:
        session.index.add(live.key, live.id)
    for live in lives if choice.has(kind) else ():
        if choice.takes(live.key):
            shown = {
                k: veiled(v, session.veiled.get(live.id, ()), k) for k, v in live.fields.items()
            }
            exported = await kind.describe(session, replace(live, fields=shown))
            if exported is not None:
                yield kind, exported


def _add(tree: Tree, kind: Kind, exported: Exported) -> None:
    key = exported.key
    tree.notes += [f"{key}: {note}" for note in exported.notes]
    wrong = _undeclarable(kind, exported)
    if wrong:
        tree.notes += [f"{key} is left out: {problem}" for problem in wrong]
        return

    def named(path: str) -> str:
        name = _secret_name(key, path)
        tree.secrets[name] = f"{key} {path}"
        return name

    path = _path(key, tree.files)
    tree.files[path] = write_yaml(exported.document, named)
    tree.keys.append(key)


def _undeclarable(kind: Kind, exported: Exported) -> Sequence[str]:
    """Return why a manifest can't hold an object: servers take names and values that we refuse."""
    if any(_OURS in key for key in _keys(exported.document)):
        return [f"a key of a mapping holds {_OURS}, which manifests don't take"]
    parsed = kind.parse(Document(exported.document, Place("", 1, 1)))
    return [one.message for one in parsed.problems if one.severity is Severity.ERROR]


def _keys(value: Value) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _keys(inner)


def _secret_name(key: Key, path: str) -> str:
    words = "_".join((*key.parts, path.removeprefix("data.")))
    return re.sub(r"[^A-Z0-9]+", "_", words.upper()).strip("_")


def _path(key: Key, taken: Iterable[str]) -> str:
    """Return a file for a key; names that differ in odd characters only get a number."""
    folder = {"deployment": "deployments", "block": "blocks"}.get(key.kind, f"{key.kind}s")
    words = [_UNSAFE.sub("-", part).strip(".-") or "unnamed" for part in key.parts]
    base = "/".join((folder, *words))
    found, number = f"{base}.yaml", 2
    lower = {one.lower() for one in taken}
    while found.lower() in lower:
        found, number = f"{base}-{number}.yaml", number + 1
    return found
