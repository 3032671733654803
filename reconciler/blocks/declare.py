"""From what a document says about a block to a declaration: for Block and for inline infrastructure."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.blocks import typed
from reconciler.blocks.concealed import starred
from reconciler.blocks.data import normalise, secret_paths
from reconciler.blocks.registry import canonical_slug, settings_of
from reconciler.model.desired import Declaration, Document, Parsed
from reconciler.model.keys import Key
from reconciler.model.places import Place
from reconciler.model.problems import Problem
from reconciler.model.values import Ref, Value, join

OWN_TYPES = frozenset({"reconciler-inventory", "reconciler-lease"})
"""Block types in which we keep our books; nobody declares, lists or deletes them as blocks."""

PREFIX = "block"

_NAME = re.compile(r"[a-z0-9-]+")
_REFERENCE = re.compile(r"(?P<slug>[a-z0-9-]+)/(?P<name>[a-z0-9-]+)")
_GENERATED = re.compile(r"inline-[0-9a-f]{16}")
_HOW = "write {$ref: <block type slug>/<name>}"


def block_key(slug: str, name: str) -> Key:
    """Return the key of a block document; both spellings of a slug give the same."""
    return Key.of(PREFIX, canonical_slug(slug), name)


def parse_reference(text: str) -> Key | None:
    """Read `<slug>/<name>`; None if the text isn't that."""
    match = _REFERENCE.fullmatch(text)
    return None if match is None else block_key(match["slug"], match["name"])


def is_block_name(name: str) -> bool:
    """Tell whether Prefect accepts a name for a block document (and a slug for a block type)."""
    return _NAME.fullmatch(name) is not None


def generated_name(key: Key) -> str:
    """Return the name of the block document that a deployment's inline infrastructure becomes."""
    return "inline-" + hashlib.sha256(str(key).encode()).hexdigest()[:16]  # DESIGN 5


def is_generated(name: str) -> bool:
    """Tell whether a block document has such a name."""
    return _GENERATED.fullmatch(name) is not None


def block_declaration(
    slug: str,
    name: str,
    data: Value,
    document: Document,
    path: tuple[str | int, ...],
    *,
    generated: bool = False,
) -> Parsed:
    """Check a block's data offline and declare it.

    Args:
        slug: of the block type, in either spelling; must be a possible slug already.
        name: of the block document; must be a possible name already.
        data: as the document has it; for inline infrastructure with or without `type`.
        document: that it stands in.
        path: where in the document the data stands.
        generated: whether we invented the document (inline infrastructure).
    """
    key = block_key(slug, name)
    if key.parts[0] in OWN_TYPES:
        return _refused(document.at(*path), f"blocks of the type {key.parts[0]} are our own books")
    if not isinstance(data, Mapping):
        return _refused(document.at(*path), "data must be a mapping")
    found = _Data(key.parts[0], data, document, path)
    problems = tuple(found.problems())
    if problems:
        return Parsed(problems=problems)
    place = document.at(*path) if generated else document.place
    fields = {"data": normalise(found.slug, found.with_references())}
    places = dict(_places(document, path))
    return Parsed((Declaration(key, fields, place, places, generated=generated),))


@dataclass(frozen=True)
class _Data:
    slug: str
    data: Mapping[Any, Value]
    document: Document
    path: tuple[str | int, ...]

    def problems(self) -> Iterator[Problem]:
        """Yield every problem that can be seen without a server."""
        yield from self._bad_references()
        model = settings_of(self.slug)
        if model is None:
            return
        for complaint in typed.check(model, self.with_references()):
            yield self._problem(complaint.path, complaint.message, complaint.hint)
        for path in starred(self.data, secret_paths(self.slug, None)):
            yield starred_problem(self.document.at(*self.path, *path.split(".")))

    def with_references(self) -> dict[str, Value]:
        """Return the data with `Ref` for every `$ref` that can be read."""
        return {
            name: _reference(value) or value
            for name, value in self.data.items()
            if isinstance(name, str)
        }

    def _bad_references(self) -> Iterator[Problem]:
        for name, value in self.data.items():
            if not isinstance(name, str):
                yield self._problem((name,), f"the key {name!r} must be text", "put it in quotes")
            if isinstance(value, Mapping) and "$ref" in value:
                if _reference(value) is None:
                    yield self._problem((name,), f"the $ref of {name} names no block", _HOW)
            else:
                for inner in _deep_references(value, (name,)):
                    yield self._problem(
                        inner,
                        "$ref stands too deep: Prefect resolves it at the top level of data only",
                    )

    def _problem(
        self, path: tuple[str | int, ...], message: str, hint: str | None = None
    ) -> Problem:
        return Problem(self.document.at(*self.path, *path), message, hint)


def starred_problem(place: Place) -> Problem:
    """Return the problem of eight stars written as a secret."""
    return Problem(
        place,
        "eight stars can't be a secret: Prefect takes them for 'keep what you have'",
        "use ${{ secrets.NAME }}",
    )


def _refused(place: Place, message: str) -> Parsed:
    return Parsed(problems=(Problem(place, message),))


def _reference(value: Value) -> Ref | None:
    if not isinstance(value, Mapping) or set(value) != {"$ref"}:
        return None
    target = value["$ref"]
    key = parse_reference(target) if isinstance(target, str) else None
    return None if key is None else Ref(key)


def _deep_references(value: Value, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Yield paths of mappings below the top that look like our `$ref` (not JSON Schema's `#/…`)."""
    if isinstance(value, Mapping):
        if _reference(value) is not None:
            yield path
        for key, inner in value.items():
            yield from _deep_references(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _deep_references(inner, (*path, index))


def _places(document: Document, path: tuple[str | int, ...]) -> Iterator[tuple[str, Place]]:
    """Yield field paths with their places; a list is one field, so nothing inside it counts."""
    depth = len(path)
    for at, place in document.places.items():
        below = at[depth:]
        if at[:depth] == path and all(isinstance(step, str) for step in below):
            field = "data"
            for step in below:
                field = join(field, str(step))
            yield field, place
