"""Whether deployments fit the flow functions that they name, where the code is in the same tree."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from reconciler.manifests.signatures import Signature, signature_of
from reconciler.model.desired import Declaration
from reconciler.model.near import did_you_mean
from reconciler.model.problems import Problem, Severity
from reconciler.model.snapshot import File, Snapshot
from reconciler.model.values import Secret

_LARGEST = 1_000_000
_OURS = ("$STORAGE_BASE_PATH", ".", "./")
"""Values of `path` with which the entrypoint lies in the tree."""


def misfits(declarations: Iterable[Declaration], snapshot: Snapshot) -> Iterator[Problem]:
    """Yield a warning for each deployment that doesn't fit its function, and for what is missing."""
    files = {file.path: file for file in snapshot.files}

    @cache
    def look(file: File, function: str) -> Signature | str | None:
        try:
            return signature_of(snapshot.contents.read(file), function)
        except ValueError as error:
            return f"{file.path} is no Python that this version reads: {error}"

    for declaration in declarations:
        entrypoint = declaration.fields.get("entrypoint")
        if declaration.key.kind != "deployment" or not isinstance(entrypoint, str):
            continue
        if declaration.fields.get("path") not in _OURS:
            continue
        path, colon, function = entrypoint.partition(":")
        file = files.get(path.removeprefix("./"))
        if colon and file is not None and file.size <= _LARGEST:
            yield from _misfits(declaration, file.path, function, look(file, function))


def _misfits(
    declaration: Declaration, path: str, function: str, found: Signature | str | None
) -> Iterator[Problem]:
    at = declaration.at("entrypoint")
    if isinstance(found, str):
        yield _warning(at, found)
    elif found is None:
        yield _warning(at, f"{path} has no function {function}")
    else:
        yield from _against(declaration, found)


def _against(declaration: Declaration, found: Signature) -> Iterator[Problem]:
    flow = declaration.key.parts[0]
    if found.flow_name != flow:
        yield _warning(
            declaration.at("entrypoint"),
            f"the flow of this function is called {found.flow_name}, not {flow}",
            "its runs would be listed under another flow",
        )
    if found.open:
        return
    parameters = _mapping(declaration.fields.get("parameters"))
    for name in parameters:
        if name not in found.names:
            hint = did_you_mean(name, found.names, what="its parameters")
            place = declaration.at(f"parameters.{name}")
            yield _warning(place, f"the function has no parameter {name}", hint)
    yield from _schema(declaration, found)


def _schema(declaration: Declaration, found: Signature) -> Iterator[Problem]:
    schema = _mapping(declaration.fields.get("parameter_openapi_schema"))
    if not schema:
        return
    known = _mapping(schema.get("properties"))
    place, hint = declaration.at("parameter_openapi_schema"), "`reconciler generate` writes it anew"
    gone = [name for name in known if name not in found.names]
    new = [name for name in found.required if name not in known]
    for words, names in (
        ("has parameters that the function lacks", gone),
        ("lacks parameters", new),
    ):
        if names:
            yield _warning(place, f"the schema {words}: {', '.join(names)}", hint)


def _mapping(value: object) -> Mapping[str, Any]:
    if isinstance(value, Secret):
        return {}
    return value if isinstance(value, Mapping) else {}


def _warning(place: Any, message: str, hint: str | None = None) -> Problem:
    return Problem(place, message, hint, Severity.WARNING)
