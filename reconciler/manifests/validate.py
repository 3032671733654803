"""Documents to declarations: each by its kind, then all of them together."""

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from reconciler.kinds.base import Kind
from reconciler.manifests.options import KEY, for_generated, options_of
from reconciler.model.desired import Declaration, Document, Options
from reconciler.model.fingerprint import Fingerprinter
from reconciler.model.keys import Key
from reconciler.model.near import nearest
from reconciler.model.policy import Policy
from reconciler.model.problems import Problem, Severity
from reconciler.model.values import (
    Masked,
    Ref,
    Secret,
    Value,
    contains_secret,
    leaves,
    references,
)

_OWN = Fingerprinter(secrets.token_bytes())


@dataclass(frozen=True, slots=True)
class Resolved:
    """A document that is ready for its kind."""

    kind: Kind
    document: Document


@dataclass(frozen=True, slots=True)
class Declared:
    """A declaration with what is asked of it at each load.

    Attributes:
        declaration: as its kind checked it.
        content: content hash of what is wanted, secrets by their names only.
        print: like `content`, and moves when a secret does; keyed anew by each process.
        needs: the keys that it refers to.
    """

    declaration: Declaration
    content: str
    print: str
    needs: frozenset[Key]

    @property
    def secret(self) -> bool:
        """Whether it holds a secret value, or the place of one."""
        return self.print != self.content

    @classmethod
    def of(cls, declaration: Declaration) -> "Declared":
        """Look into a declaration once."""
        needs = frozenset(ref.key for _, ref in _references(declaration))
        content = print_ = _hash(_content(declaration))
        if contains_secret(declaration.fields):
            print_ += _OWN.of(declaration.fields)
        return cls(declaration, content, print_, needs)


def declare(resolved: Resolved) -> tuple[tuple[Declaration, ...], list[Problem]]:
    """Let the kind check a document, and add what `reconcile:` says."""
    options, problems = options_of(resolved.document)
    parsed = resolved.kind.parse(bare(resolved.document))
    help_ = f"`reconciler schema {resolved.kind.name}` shows what is allowed"
    problems.extend(replace(p, hint=p.hint or help_) for p in parsed.problems)
    return tuple(_with(options, declaration) for declaration in parsed.declarations), problems


def bare(document: Document) -> Document:
    """Return the document as kinds see it: without `reconcile:`."""
    if KEY not in document.value:
        return document
    return replace(document, value={k: v for k, v in document.value.items() if k != KEY})


def _with(options: Options, declaration: Declaration) -> Declaration:
    mine = for_generated(options) if declaration.generated else options
    return replace(declaration, options=mine)


def unique(declared: Iterable[Declared]) -> tuple[dict[Key, Declared], list[Problem]]:
    """Return declarations by key, sorted; a key that stands twice is a problem."""
    found: dict[Key, Declared] = {}
    problems = []
    for one in declared:
        declaration = one.declaration
        first = found.setdefault(declaration.key, one)
        if first is not one:
            message = f"{declaration.key} is declared twice, first at {first.declaration.place}"
            hint = "give it a name" if declaration.generated else "remove or rename one of them"
            problems.append(Problem(declaration.place, message, hint))
    return {key: found[key] for key in sorted(found)}, problems


def unresolved(declarations: Mapping[Key, Declaration]) -> Iterator[Problem]:
    """Yield a warning for each reference that leaves the tree: only the server knows it."""
    names = [str(key) for key in declarations]
    for declaration in declarations.values():
        for path, ref in _references(declaration):
            if ref.key in declarations:
                continue
            near = nearest(str(ref.key), names)
            yield Problem(
                declaration.at(path),
                f"{ref.key} is not in this tree; it is looked up on the server",
                f"did you mean {near}?" if near else "declare it here unless it exists there",
                Severity.WARNING,
            )


def cycles(declared: Mapping[Key, Declared]) -> Iterator[Problem]:
    """Yield a problem for each cycle of references, named at its smallest key."""
    graph = {key: set(one.needs & declared.keys()) for key, one in declared.items() if one.needs}
    while (cycle := _cycle(graph)) is not None:
        first = cycle[0]
        chain = " → ".join(str(key) for key in (*cycle, first))
        path = next(
            path
            for path, ref in _references(declared[first].declaration)
            if ref.key == cycle[1 % len(cycle)]
        )
        place = declared[first].declaration.at(path)
        yield Problem(place, f"the references form a cycle: {chain}", "remove one of them")
        for key in cycle:
            graph[key] = set()


def _cycle(graph: Mapping[Key, set[Key]]) -> list[Key] | None:
    """Return the keys of a cycle, each referring to the next, the smallest first."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        around: list[Key] = list(reversed(error.args[1][1:]))
        start = around.index(min(around))
        return around[start:] + around[:start]
    return None


def _references(declaration: Declaration) -> Iterator[tuple[str, Ref]]:
    for path, leaf in leaves(declaration.fields):
        for ref in references(leaf):
            yield path, ref


def digest(declared: Mapping[Key, Declared], policy: Policy, environment: str | None) -> str:
    """Return a content hash of what is wanted, whatever files and commit it stands in.

    It is sorted already (`unique`). Secrets take part by name only: the digest is shown and stored.
    """
    content = {
        "declarations": [(str(key), one.content) for key, one in declared.items()],
        "environment": environment,
        "policy": policy.model_dump(mode="json", include={"name", "prune", "drift"}),
    }
    return f"sha256:{_hash(content)}"


def _hash(content: object) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _content(declaration: Declaration) -> dict[str, object]:
    options = declaration.options
    return {
        "fields": _plain(declaration.fields),
        "options": {name: getattr(options, name) for name in Options.__slots__},
    }


def _plain(value: Value) -> object:
    if isinstance(value, Secret):
        return {"\0secret": sorted(value.names)}
    if isinstance(value, Masked):
        return {"\0masked": True}
    if isinstance(value, Ref):
        return {"\0ref": str(value.key)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def files_of(
    paths: Sequence[str], declarations: Mapping[Key, Declaration]
) -> dict[str, tuple[Key, ...]]:
    """Return every file that was read with the keys that it declares."""
    found: dict[str, list[Key]] = {path: [] for path in paths}
    for key, declaration in declarations.items():
        found.setdefault(declaration.place.file, []).append(key)
    return {path: tuple(keys) for path, keys in found.items()}
