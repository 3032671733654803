"""The merge patches of an environment, with their places in `reconciler.yaml`."""

from collections.abc import Collection, Iterator, Mapping
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
    """

    def __init__(self, file: PolicyFile, choice: Choice, environment: str | None) -> None:
        self.problems: list[Problem] = []
        self._patches: list[_Patch] = []
        scope = Scope(FILE, choice.policy.vars, None, self.problems)
        for index, patch in enumerate(choice.environment.patches):
            node = file.node("environments", environment or "", "patches", index, "patch")
            value = None if node is None else substitute(node, scope)
            if node is not None and isinstance(value, Mapping):
                self._patches.append(_Patch(patch.target, node, value))

    def apply(self, kind: Kind, document: Document, used: set[int]) -> Document:
        """Return a document with every patch that selects it merged in, one after the other.

        Args:
            kind: of the document.
            document: before.
            used: gets the numbers of the patches that select it.
        """
        for number, patch in enumerate(self._patches):
            keys = _keys(kind, document) if patch.target.key is not None else ()
            if selects(patch.target, kind.name, keys, document.value):
                used.add(number)
                document = patched(document, patch.value, Places(FILE, patch.node))
        return document

    def unused(self, used: Collection[int]) -> Iterator[Problem]:
        """Yield a warning for each patch whose number isn't among those that selected something."""
        for number, patch in enumerate(self._patches):
            if number not in used:
                place = patch.node.mark.place(FILE)
                yield Problem(
                    place, "the patch selects no document", "check its target", Severity.WARNING
                )


def _keys(kind: Kind, document: Document) -> tuple[Key, ...]:
    """Return the keys that a document declares; only its kind knows how they are made."""
    return tuple(declaration.key for declaration in kind.parse(bare(document)).declarations)
