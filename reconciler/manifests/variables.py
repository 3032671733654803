"""`${{ vars.X }}` and `${{ secrets.X }}`, replaced in a document's values (DESIGN section 5).

A text that is one expression takes the variable's own type; inside longer text it is written out.
A text with a secret in it becomes a `Secret` as a whole. `$${{` stands for a plain `${{`, and
Prefect's own `{{ … }}` passes untouched.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from reconciler.manifests.nodes import Node
from reconciler.model.near import did_you_mean
from reconciler.model.problems import Problem
from reconciler.model.values import Masked, Secret, Value

_TOKEN = re.compile(r"(?P<escape>\$\$\{\{)|\$\{\{(?P<name>[^{}]*)\}\}|(?P<open>\$\{\{)")
_NAME = re.compile(r"(?P<space>vars|secrets)\.(?P<path>[\w-]+(?:\.[\w-]+)*)", re.ASCII)
_ESCAPE_HINT = "write $${{ for a plain ${{"
_IDENTITY = frozenset({"kind", "name", "flow_name", "block_type_slug", "reconcile"})


class SecretReader(Protocol):
    """Where secrets come from."""

    def get(self, name: str) -> Secret | Masked:
        """Return a secret.

        Raises:
            LookupError: there is none, or it can't be read; the arguments are message and hint.
        """
        ...


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be used in a file, and where problems go.

    Attributes:
        file: for places.
        vars: the variables, None where none may be used.
        secrets: None where none may be used.
        problems: what was found wrong so far; grows.
    """

    file: str
    vars: Mapping[str, Any] | None
    secrets: SecretReader | None
    problems: list[Problem] = field(default_factory=list)

    def without_secrets(self) -> "Scope":
        """Return the same scope for values that must stay readable, such as names."""
        return Scope(self.file, self.vars, None, self.problems)

    def report(self, node: Node, message: str, hint: str | None = None) -> None:
        """Add a problem."""
        self.problems.append(Problem(node.mark.place(self.file), message, hint))


def substitute_document(root: Node, scope: Scope) -> Value:
    """Replace the expressions of a document; what names it must not come from secrets."""
    if not root.dynamic or not isinstance(root.items, dict):
        return substitute(root, scope)
    _check_keys(root, scope)
    plain = scope.without_secrets()
    return {
        key: substitute(entry.node, plain if key in _IDENTITY else scope)
        for key, entry in root.items.items()
    }


def substitute(node: Node, scope: Scope) -> Value:
    """Replace the expressions of a value; problems go to the scope, and the text stays."""
    if not node.dynamic:
        return node.value
    if isinstance(node.items, dict):
        _check_keys(node, scope)
        return {key: substitute(entry.node, scope) for key, entry in node.items.items()}
    if isinstance(node.items, list):
        return [substitute(item, scope) for item in node.items]
    return _text(node, scope)


def _check_keys(node: Node, scope: Scope) -> None:
    for key, entry in dict(node.items or {}).items():  # type: ignore[arg-type]
        if any(token.group("escape") is None for token in _TOKEN.finditer(key)):
            message = "variables and secrets stand in values, not in keys"
            scope.problems.append(Problem(entry.mark.place(scope.file), message, _ESCAPE_HINT))


class _Unusable(Exception):  # noqa: N818 - reported already
    pass


def _text(node: Node, scope: Scope) -> Value:
    try:
        parts = list(_parts(node, scope))
        if len(parts) == 1:
            return parts[0]
        return _joined(node, parts, scope)
    except _Unusable:
        return node.value


def _parts(node: Node, scope: Scope) -> Iterator[Value]:
    """Yield literal text and the values of expressions, in order."""
    text: str = node.value
    end = 0
    for token in _TOKEN.finditer(text):
        if token.start() > end:
            yield text[end : token.start()]
        end = token.end()
        if token["escape"]:
            yield "${{"
        elif token["open"]:
            scope.report(node, "${{ without its }}", _ESCAPE_HINT)
            raise _Unusable
        else:
            yield _value(node, token["name"].strip(), scope)
    if end < len(text):
        yield text[end:]


def _value(node: Node, name: str, scope: Scope) -> Value:
    match = _NAME.fullmatch(name)
    if match is None:
        scope.report(node, f"${{{{ {name} }}}} is neither vars.NAME nor secrets.NAME", _ESCAPE_HINT)
        raise _Unusable
    if match["space"] == "vars":
        return _variable(node, match["path"], scope)
    if scope.secrets is None:
        scope.report(node, f"secrets.{match['path']} can't be used here", "this must be readable")
        raise _Unusable
    try:
        return scope.secrets.get(match["path"])
    except LookupError as error:
        message, hint = error.args
        scope.report(node, message, hint)
        raise _Unusable from None


def _variable(node: Node, path: str, scope: Scope) -> Value:
    if scope.vars is None:
        scope.report(node, f"vars.{path} can't be used here", "write the value out")
        raise _Unusable
    value: Any = scope.vars
    for step in path.split("."):
        if not isinstance(value, Mapping) or step not in value:
            known = did_you_mean(path, _names(scope.vars), what="defined")
            scope.report(
                node,
                f"the variable {path} is not defined",
                known or "define it below `vars:` in reconciler.yaml",
            )
            raise _Unusable
        value = value[step]
    return value


def _names(variables: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in variables.items():
        yield prefix + key
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{key}.")


def _joined(node: Node, parts: list[Value], scope: Scope) -> Value:
    masked = [part for part in parts if isinstance(part, Masked)]
    if masked:
        return masked[0]
    secrets = [part for part in parts if isinstance(part, Secret)]
    text = "".join(_written(node, part, scope) for part in parts)
    if not secrets:
        return text
    return Secret(text, *(name for secret in secrets for name in secret.names))


def _written(node: Node, part: Value, scope: Scope) -> str:
    if isinstance(part, Secret):
        part = part.reveal()
    if isinstance(part, str):
        return part
    if isinstance(part, bool | int | float):
        return json.dumps(part)
    scope.report(node, "null, a list or a mapping can't stand inside text", "use it alone")
    raise _Unusable
