"""`reconciler.yaml`: the policy of a tree, with the place of each problem (DESIGN section 8)."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from reconciler.manifests.marks import Limits, read
from reconciler.manifests.nodes import Mark, Node, Places
from reconciler.manifests.typed import problems_of
from reconciler.manifests.variables import Scope, substitute
from reconciler.model.places import Place
from reconciler.model.policy import Policy
from reconciler.model.problems import Problem
from reconciler.model.snapshot import File, Snapshot

FILE = "reconciler.yaml"
_NO_NAME = "unnamed"  # stands in where the name has a problem, so that the rest can be checked


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy and where its parts stand.

    Attributes:
        policy: as far as it is valid.
        root: the file's node, None if there is none.
        problems: what is wrong with it.
    """

    policy: Policy
    root: Node | None = None
    problems: tuple[Problem, ...] = ()

    def at(self, *path: str | int) -> Place:
        """Return the place of a path, or of the nearest one around it."""
        if self.root is None:
            return Mark().place(FILE)
        places = Places(FILE, self.root)
        while path and path not in places:
            path = path[:-1]
        return places[path]

    def node(self, *path: str | int) -> Node | None:
        """Return the node at a path."""
        node = self.root
        for step in path:
            if node is None or node.items is None:
                return None
            try:
                found: Any = node.items[step]  # type: ignore[index]
            except (KeyError, IndexError):
                return None
            node = found if isinstance(found, Node) else found.node
        return node


def blob_of_policy(snapshot: Snapshot) -> str | None:
    """Return the blob id of a tree's policy, None if there is none."""
    file = _file(snapshot)
    return None if file is None else file.blob


def read_policy(snapshot: Snapshot, limits: Limits) -> PolicyFile:
    """Read the policy of a tree; whatever is wrong comes back as problems."""
    file = _file(snapshot)
    if file is None:
        return _broken("reconciler.yaml is missing", "`reconciler init` writes one")
    if file.size > limits.size:
        return _broken(f"larger than {limits.size:,} bytes", "a policy is a short file")
    content = read(snapshot.contents.read(file), limits)
    if content.flaws:
        return _with(_invalid(), None, [flaw.problem(FILE) for flaw in content.flaws])
    if len(content.documents) != 1 or not isinstance(content.documents[0].items, dict):
        return _broken("must hold one mapping", "it begins with `name:`")
    return _checked(content.documents[0])


def _file(snapshot: Snapshot) -> File | None:
    return next((file for file in snapshot.files if file.path == FILE), None)


def _broken(message: str, hint: str) -> PolicyFile:
    return _with(_invalid(), None, [Problem(Mark().place(FILE), message, hint)])


def _invalid() -> Policy:
    return Policy(name=_NO_NAME)


def _with(policy: Policy, root: Node | None, problems: list[Problem]) -> PolicyFile:
    return PolicyFile(policy, root, tuple(problems))


def _checked(root: Node) -> PolicyFile:
    problems: list[Problem] = []
    value = _literal(root, Scope(FILE, None, None, problems))
    at = PolicyFile(_invalid(), root).at
    try:
        policy = Policy.model_validate(value)
    except ValidationError as error:
        problems.extend(problems_of(error, Policy, at))
        wrong = {found["loc"][0] for found in error.errors()}
        right = {key: inner for key, inner in value.items() if key not in wrong}
        policy = Policy.model_validate({"name": _NO_NAME, **right})
    return _with(policy, root, problems)


def _literal(root: Node, scope: Scope) -> dict[str, Any]:
    """Return the policy's value; expressions may stand in patches only, and those come later."""
    return {key: _outside_patches(node, (key,), scope) for key, node in _parts(root)}


def _outside_patches(node: Node, path: tuple[str, ...], scope: Scope) -> Any:
    if path[0] == "environments" and path[2:] == ("patches",):
        return node.value
    if path[0] != "environments" or not isinstance(node.items, dict):
        return substitute(node, scope)
    return {key: _outside_patches(inner, (*path, key), scope) for key, inner in _parts(node)}


def _parts(node: Node) -> list[tuple[str, Node]]:
    assert isinstance(node.items, dict)  # noqa: S101 - asked by the callers
    return [(key, entry.node) for key, entry in node.items.items()]
