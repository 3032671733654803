"""What each document of a file is: a kind of ours, somebody else's, or a mistake."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.kinds.base import Kind
from reconciler.manifests.nodes import Entry, Node, Places
from reconciler.manifests.templates import translated
from reconciler.model.desired import Document
from reconciler.model.near import did_you_mean
from reconciler.model.problems import Problem, Severity

NATIVE = "native"
BUILT = "prefect-deployment"
PROJECT = "prefect-yaml"
_BUILT_KEYS = {"flow_name", "manifest_path", "timestamp"}  # `prefect deployment build` writes all
_NOT_OURS = "add `kind:`, or name the file in .reconcilerignore"


@dataclass(frozen=True, slots=True)
class Draft:
    """A document of a known kind, its variables not replaced yet.

    Attributes:
        file: its path.
        node: the document, or an item of the `deployments:` of a prefect.yaml.
        kind: what it declares.
        shape: as in `Document.shape`.
    """

    file: str
    node: Node
    kind: Kind
    shape: str = NATIVE


@dataclass(frozen=True, slots=True)
class Reader:
    """Tells documents apart.

    Attributes:
        kinds: those that we know.
        problems: what was found wrong so far; grows.
    """

    kinds: Sequence[Kind]
    problems: list[Problem]

    def drafts(self, file: str, root: Node) -> Iterator[Draft]:
        """Yield what a document declares: nothing, one, or the items of a prefect.yaml."""
        if not isinstance(root.items, dict):
            self._report(file, root, "no known kind of document", _NOT_OURS, Severity.WARNING)
        elif isinstance(root.value.get("apiVersion"), str):
            return  # Kubernetes and others: they have a `kind: Deployment` too
        elif "kind" in root.items:
            yield from self._named(file, root, root.items["kind"])
        elif _is_project(file, root):
            yield from self._project(file, root.items)
        else:
            yield from self._inferred(file, root)

    def _named(self, file: str, root: Node, word: Entry) -> Iterator[Draft]:
        names = [kind.name for kind in self.kinds]
        for kind in self.kinds:
            if kind.name == word.node.value:
                yield Draft(file, root, kind)
                return
        value = word.node.value
        written = value if isinstance(value, str) else json.dumps(value)
        hint = did_you_mean(written, names, what="known kinds")
        place = word.mark.place(file)
        self.problems.append(Problem(place, f"unknown kind {written!r}", hint))

    def _inferred(self, file: str, root: Node) -> Iterator[Draft]:
        shape = BUILT if root.value.keys() >= _BUILT_KEYS else NATIVE
        document = Document(root.value, root.mark.place(file), Places(file, root), shape)
        found = [kind for kind in self.kinds if kind.recognises(document)]
        if len(found) == 1:
            yield Draft(file, root, found[0], shape)
        elif found:
            names = " and ".join(kind.name for kind in found)
            self._report(file, root, f"this could be {names}", "add `kind:`")
        else:
            self._report(file, root, "no known kind of document", _NOT_OURS, Severity.WARNING)

    def _project(self, file: str, entries: dict[str, Entry]) -> Iterator[Draft]:
        kind = next((kind for kind in self.kinds if kind.prefix == "deployment"), None)
        listed = entries.get("deployments")
        if kind is None or listed is None or listed.node.value is None:
            return
        if not isinstance(listed.node.items, list):
            self._report(file, listed.node, "`deployments` must be a list", "- name: …")
            return
        for item in listed.node.items:
            if not isinstance(item.items, dict):
                self._report(file, item, "a deployment must be a mapping", "- name: …")
            elif not _is_placeholder(item):
                whole = _with_pull(item, entries.get("pull"))
                found = translated(whole, file, entries)
                self.problems.extend(one for one in found.problems if one not in self.problems)
                yield Draft(file, found.node, kind, PROJECT)

    def _report(
        self,
        file: str,
        node: Node,
        message: str,
        hint: str,
        severity: Severity = Severity.ERROR,
    ) -> None:
        self.problems.append(Problem(node.mark.place(file), message, hint, severity))


def _is_project(file: str, root: Node) -> bool:
    """Tell whether this is a `prefect.yaml`, whatever it is called."""
    if file.rsplit("/", 1)[-1] in {"prefect.yaml", "prefect.yml"}:
        return True
    return isinstance(root.value.get("deployments"), list) and bool(
        root.value.keys() & {"prefect-version", "pull", "build", "push"}
    )


def _is_placeholder(item: Node) -> bool:
    """Tell whether an item is the empty form that `prefect init` writes."""
    return item.value.get("name") is None and item.value.get("entrypoint") is None


def _with_pull(item: Node, pull: Entry | None) -> Node:
    """Give an item the pull steps of the whole project if it has none of its own."""
    if pull is None or pull.node.value is None or item.value.get("pull") is not None:
        return item
    entries = item.items if isinstance(item.items, dict) else {}
    return Node(
        item.mark,
        {**item.value, "pull": pull.node.value},
        {**entries, "pull": pull},
        item.weight,
        item.dynamic or pull.node.dynamic,
    )
