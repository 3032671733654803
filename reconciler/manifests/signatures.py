"""What a flow function takes, read from its source without running it.

The schema has the form that Prefect's `parameter_openapi_schema` has (3.8.8: its `ParameterSchema`):
`properties` with title, position, type and default, and `required`. A type that can't be known from
the file alone (a pydantic model of one's own) leaves its parameter without a type.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

_SIMPLE: Mapping[str, Mapping[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "bytes": {"type": "string", "format": "binary"},
    "Any": {},
    "object": {},
    "None": {"type": "null"},
    "dict": {"type": "object", "additionalProperties": True},
    "Dict": {"type": "object", "additionalProperties": True},
    "Mapping": {"type": "object", "additionalProperties": True},
    "list": {"type": "array", "items": {}},
    "List": {"type": "array", "items": {}},
    "Sequence": {"type": "array", "items": {}},
    "tuple": {"type": "array", "items": {}},
    "set": {"type": "array", "items": {}, "uniqueItems": True},
    "datetime": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "time"},
    "timedelta": {"type": "string", "format": "duration"},
    "UUID": {"type": "string", "format": "uuid"},
    "Path": {"type": "string", "format": "path"},
    "Decimal": {"anyOf": [{"type": "number"}, {"type": "string"}]},
    "SecretStr": {"type": "string", "format": "password", "writeOnly": True},
}
_NAMES = {str: "string", int: "integer", bool: "boolean"}
_LISTS = {"list", "List", "Sequence", "Iterable", "set", "Set", "frozenset", "tuple", "Tuple"}
_MAPPINGS = {"dict", "Dict", "Mapping", "MutableMapping"}
_WRAPPERS = {"Annotated", "Final", "Required"}
_ARGS = re.compile(r"^\s*(?:Args|Arguments|Parameters):\s*$")
_GOOGLE = re.compile(r"^(\s+)\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s*(.*)$")
_SPHINX = re.compile(r"^\s*:param (?:[\w\[\], .|]+ )?(\w+):\s*(.*)$")
_UNKNOWN = object()


@dataclass(frozen=True, slots=True)
class Signature:
    """A flow function.

    Attributes:
        flow_name: as Prefect names the flow.
        description: of the flow; None without one.
        schema: of its parameters.
        names: of its parameters, in order.
        required: those without a default.
        open: it takes any keyword (`**kwargs`).
    """

    flow_name: str
    description: str | None
    schema: Mapping[str, Any] = field(hash=False)
    names: tuple[str, ...]
    required: tuple[str, ...]
    open: bool = False


@lru_cache(maxsize=512)
def signature_of(source: bytes, function: str) -> Signature | None:
    """Return the signature of a flow function, `name` or `Class.name`; None if there is none.

    Raises:
        ValueError: the source can't be read as Python.
    """
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        raise ValueError(f"line {line}" if line else "it can't be parsed") from None
    found = _function(body, function.split("."))
    return None if found is None else _signature(found)


def _function(
    body: list[ast.stmt], path: list[str]
) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and [node.name] == path:
            return node
        if isinstance(node, ast.ClassDef) and node.name == path[0] and len(path) > 1:
            return _function(node.body, path[1:])
    return None


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Signature:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    if positional and positional[0].arg in {"self", "cls"}:
        positional = positional[1:]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = list(zip(positional, [*missing, *arguments.defaults], strict=False))
    pairs += list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    docstring = ast.get_docstring(node)
    told = _told(docstring or "")
    properties = {
        one.arg: _property(one, default, position, told.get(one.arg))
        for position, (one, default) in enumerate(pairs)
    }
    required = tuple(one.arg for one, default in pairs if default is None)
    schema = {"title": "Parameters", "type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    given = _decorated(node)
    return Signature(
        flow_name=given.get("name") or node.name.replace("_", "-"),
        description=given.get("description") or (docstring.split("\n\n")[0] if docstring else None),
        schema=schema,
        names=tuple(properties),
        required=required,
        open=arguments.kwarg is not None,
    )


def _decorated(node: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, str]:
    """Return what `@flow(name=…, description=…)` says in so many words."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call):
            return {
                one.arg: one.value.value
                for one in decorator.keywords
                if one.arg
                and isinstance(one.value, ast.Constant)
                and isinstance(one.value.value, str)
            }
    return {}


def _property(
    one: ast.arg, default: ast.expr | None, position: int, text: str | None
) -> dict[str, Any]:
    made: dict[str, Any] = {"title": one.arg, "position": position}
    if one.annotation is not None:
        made |= _type(one.annotation)
    value = _UNKNOWN if default is None else _literal(default)
    if value is not _UNKNOWN:
        made["default"] = value
    if text:
        made["description"] = text
    return made


def _literal(node: ast.expr) -> Any:
    """Return a default that is JSON; others (calls, names) can't be known."""
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _UNKNOWN
    return _json(value)


def _json(value: Any) -> Any:
    if isinstance(value, tuple | list | set | frozenset):
        items = [_json(one) for one in value]
        return _UNKNOWN if _UNKNOWN in items else items
    if isinstance(value, dict):
        made = {key: _json(inner) for key, inner in value.items()}
        good = all(isinstance(key, str) for key in made) and _UNKNOWN not in made.values()
        return made if good else _UNKNOWN
    return value if value is None or isinstance(value, bool | int | float | str) else _UNKNOWN


def _type(node: ast.expr) -> dict[str, Any]:
    """Return the schema of an annotation; empty where it can't be known."""
    if isinstance(node, ast.Constant):
        return _constant(node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([*_sides(node)])
    if isinstance(node, ast.Subscript):
        return _subscript(_word(node.value), node.slice)
    return dict(_SIMPLE.get(_word(node), {}))


def _constant(node: ast.Constant) -> dict[str, Any]:
    if node.value is None:
        return {"type": "null"}
    if isinstance(node.value, str):  # an annotation written as text
        try:
            return _type(ast.parse(node.value, mode="eval").body)
        except SyntaxError:
            return {}
    return {}


def _sides(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        yield from _sides(node.left)
        yield from _sides(node.right)
    else:
        yield node


def _subscript(word: str, inner: ast.expr) -> dict[str, Any]:
    parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if word in {"Optional", "Union"}:
        return _union([*parts, *([ast.Constant(None)] if word == "Optional" else [])])
    if word == "Literal":
        return _choice(parts)
    if word in _LISTS:
        unique = {"uniqueItems": True} if word.lower() in {"set", "frozenset"} else {}
        return {"type": "array", "items": _type(parts[0]), **unique}
    if word in _MAPPINGS:
        values = _type(parts[1]) if len(parts) > 1 else {}
        return {"type": "object", "additionalProperties": values or True}
    return _type(parts[0]) if word in _WRAPPERS else {}


def _choice(parts: list[ast.expr]) -> dict[str, Any]:
    """Return the schema of a `Literal`, as pydantic writes it."""
    values = [one.value for one in parts if isinstance(one, ast.Constant)]
    if len(values) != len(parts):
        return {}
    types = {_NAMES.get(type(value)) for value in values}
    one_type = {"type": types.pop()} if len(types) == 1 and None not in types else {}
    return {**({"enum": values} if len(values) > 1 else {"const": values[0]}), **one_type}


def _union(parts: list[ast.expr]) -> dict[str, Any]:
    schemas = [_type(one) for one in parts]
    return {"anyOf": schemas} if all(schemas) else {}


def _word(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _told(docstring: str) -> dict[str, str]:
    """Return what a docstring says of each parameter, in Google's or Sphinx's form."""
    found: dict[str, str] = {}
    within, indent, last = False, "", ""
    for line in docstring.splitlines():
        sphinx, google = _SPHINX.match(line), _GOOGLE.match(line) if within else None
        if sphinx:
            found[sphinx[1]] = sphinx[2].strip()
        elif _ARGS.match(line):
            within, indent = True, ""
        elif within and google and (not indent or google[1] == indent):
            indent, last = google[1], google[2]
            found[last] = google[3].strip()
        elif within and last and line.startswith(indent + " "):
            found[last] = f"{found[last]} {line.strip()}"
        elif within and line.strip() and not line.startswith(" "):
            within = False
    return found
