"""The merge patches of an environment, with their places in `reconciler.yaml`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.kinds.base import Kind
from reconciler.manifests.nodes import Node, Places
from reconciler.manifests.policy import FILE, PolicyFile
from reconciler.manifests.resolve import Choice, patched, selects
from reconciler.manifests.validate import bare
from reconciler.manifests.variables import Scope, substitute
from reconciler.model.desired import Document
from reconciler.model.keys import Key
from reconciler.model.policy import Target
from reconciler.model.problems import Problem, Severity
from reconciler.model.values import Value


@dataclass(frozen=True, slots=True)
class _Patch:
    target: Target
    node: Node
    value: Mapping[str, Value]


class Patches:
    """The chosen environment's patches, in the order of the file.

    Attributes:
        problems: variables that are missing in patches, and the like.
        used: numbers of those that have selected a document; grows.
    """

    def __init__(self, file: PolicyFile, choice: Choice, environment: str | None) -> None:
        self.problems: list[Problem] = []
        self.used: set[int] = set()
        self._patches: list[_Patch] = []
        scope = Scope(FILE, choice.policy.vars, None, self.problems)
        for index, patch in enumerate(choice.environment.patches):
            node = file.node("environments", environment or "", "patches", index, "patch")
            value = None if node is None else substitute(node, scope)
            if node is not None and isinstance(value, Mapping):
                self._patches.append(_Patch(patch.target, node, value))

    def apply(self, kind: Kind, document: Document) -> Document:
        """Return a document with every patch that selects it merged in, one after the other."""
        for number, patch in enumerate(self._patches):
            keys = _keys(kind, document) if patch.target.key is not None else ()
            if selects(patch.target, kind.name, keys, document.value):
                self.used.add(number)
                document = patched(document, patch.value, Places(FILE, patch.node))
        return document

    def unused(self) -> Iterator[Problem]:
        """Yield a warning for each patch that selected nothing."""
        for number, patch in enumerate(self._patches):
            if number not in self.used:
                place = patch.node.mark.place(FILE)
                yield Problem(
                    place, "the patch selects no document", "check its target", Severity.WARNING
                )


def _keys(kind: Kind, document: Document) -> tuple[Key, ...]:
    """Return the keys that a document declares; only its kind knows how they are made."""
    return tuple(declaration.key for declaration in kind.parse(bare(document)).declarations)
