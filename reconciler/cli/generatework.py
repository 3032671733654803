"""What `reconciler generate` does."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.cli import console
from reconciler.errors import InvalidManifests, UsageError
from reconciler.kinds.deployment import Deployment
from reconciler.manifests.signatures import Signature, signature_of
from reconciler.manifests.writing import write_yaml
from reconciler.model.desired import Document
from reconciler.model.near import did_you_mean
from reconciler.model.places import Place
from reconciler.model.problems import Severity


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line says."""

    entrypoint: str
    name: str
    infra: str | None = None
    infra_block: str | None = None
    storage_block: str | None = None
    overrides: tuple[str, ...] = ()
    queue: str | None = None
    pool: str | None = None
    schedule: Mapping[str, Any] = field(default_factory=dict)
    timezone: str | None = None
    tags: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()


def generate(wish: Wish, out: Path | None) -> None:
    """Write the manifest to a file or to stdout.

    Raises:
        UsageError: the function can't be found, or the options don't fit.
        InvalidManifests: what was asked for is no deployment.
    """
    document = make(wish)
    problems = Deployment().parse(Document(document, Place(str(out or "(stdout)")))).problems
    errors = [one for one in problems if one.severity is Severity.ERROR]
    if errors:
        raise InvalidManifests(errors)
    text = write_yaml(document, str)
    if out is None:
        console.write(text)
        return
    if out.exists():
        raise UsageError(f"{out} is there already", hint="name another file, or remove it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out} can't be written: {error.strerror}") from None
    console.say(f"[green]+[/] {out}")


def make(wish: Wish) -> dict[str, Any]:
    """Return the document.

    Raises:
        UsageError: as `generate`.
    """
    found = _signature(wish.entrypoint)
    if wish.infra and wish.infra_block:
        raise UsageError("--infra and --infra-block exclude each other")
    infrastructure = {"type": wish.infra} if wish.infra else wish.infra_block
    given: dict[str, Any] = {
        "description": found.description,
        "entrypoint": wish.entrypoint,
        # The code of the applied commit, unless a storage block has it.
        "path": None if wish.storage_block else "$STORAGE_BASE_PATH",
        "storage": wish.storage_block,
        "infrastructure": infrastructure or {"type": "process"},
        "infra_overrides": dict(_pairs(wish.overrides, "--override", plain=True)),
        "work_pool_name": wish.pool,
        "work_queue_name": wish.queue or (None if wish.pool else "default"),
        "schedules": _schedules(wish),
        "parameters": _parameters(wish, found),
        "tags": list(wish.tags),
        "parameter_openapi_schema": found.schema if found.names else None,
    }
    names = {"kind": "Deployment", "flow_name": found.flow_name, "name": wish.name}
    return {**names, **{key: value for key, value in given.items() if value}}


def _signature(entrypoint: str) -> Signature:
    path, colon, function = entrypoint.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise UsageError(
            f"{entrypoint!r} is no entrypoint", hint="a file and a function: flows/etl.py:etl"
        )
    try:
        found = signature_of(Path(path).read_bytes(), function)
    except OSError as error:
        raise UsageError(
            f"{path} can't be read: {error.strerror}", hint="run it in the repository's folder"
        ) from None
    except ValueError as error:
        raise UsageError(f"{path} is no Python that this version reads: {error}") from None
    if found is None:
        raise UsageError(f"{path} has no function {function}")
    return found


def _schedules(wish: Wish) -> list[dict[str, Any]]:
    if len(wish.schedule) > 1:
        raise UsageError("one of --cron, --interval and --rrule", hint="add others to the file")
    if not wish.schedule:
        if wish.timezone:
            raise UsageError("--timezone belongs to a schedule")
        return []
    zone = {"timezone": wish.timezone} if wish.timezone else {}
    return [{**wish.schedule, **zone}]


def _parameters(wish: Wish, found: Signature) -> dict[str, Any]:
    given = dict(_pairs(wish.parameters, "--param", plain=False))
    for name in given:
        if name not in found.names and not found.open:
            hint = did_you_mean(name, found.names, what="its parameters")
            raise UsageError(f"--param: the function has no parameter {name}", hint=hint)
    return given


def _pairs(words: Iterable[str], option: str, *, plain: bool) -> Iterable[tuple[str, Any]]:
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise UsageError(f"{option}: {word!r} is no NAME=VALUE")
        yield name, text if plain else _value(text)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
