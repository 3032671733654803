"""Reading a deployment from a document: its shapes, its names, the form of each field; offline.

Three shapes are read: ours, the `deployment.yaml` that `prefect deployment build` writes, and the
items of `deployments:` in `prefect.yaml`. What comes out speaks Prefect's field names only.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.model.deployment_fields import DEFAULT_POOL, DEFAULT_QUEUE, FIELDS
from reconciler.model.desired import Document
from reconciler.model.findings import Findings, Path
from reconciler.model.keys import Key
from reconciler.model.near import did_you_mean
from reconciler.model.places import Place
from reconciler.model.schedule_reading import read_schedule, read_schedules
from reconciler.model.values import Ref, Secret, Value, join

BUILT, PREFECT_YAML = "prefect-deployment", "prefect-yaml"

_ALIASES = {
    "infra_overrides": "job_variables",
    "schedule": "schedules",
    "is_schedule_active": "paused",
}
TRIGGERS = "triggers"
"""They become automations: `reconciler.model.deployment_triggers` reads them."""
_NAMES = ("kind", "flow_name", "name")
_IGNORED = {
    BUILT: ("timestamp",),
    PREFECT_YAML: ("version_type",),
}
_NOT_OURS = {
    "build": "a build step",
    "push": "a push step",
    "sla": "SLAs",
}
_NULL_MEANS_UNSAID = {
    "paused",
    "is_schedule_active",
    "schedule",
    "enforce_parameter_schema",
    "work_queue_name",
    "work_pool_name",
}
_TEMPLATE = ("name", "flow_name", "entrypoint")  # all null in what `prefect init` writes
_REFUSED = "/%&><"  # by servers, partly with 500 and a reset connection (facts)
_ENTRYPOINT = re.compile(r"[^:]+\.py:[^:\s]+|[A-Za-z_]\w*(\.[A-Za-z_]\w*)+(:[A-Za-z_]\w*)?")
_SLUG = re.compile(r"[a-z0-9-]+")
_SLUG_KEY = "block_type_slug"


@dataclass(frozen=True, slots=True)
class Inline:
    """An infrastructure written inside a deployment.

    Attributes:
        slug: the block type.
        data: of the block.
        path: where it stands in the document.
    """

    slug: str
    data: Mapping[str, Value]
    path: Path


@dataclass(slots=True)
class Reading:
    """A document as far as it could be read.

    Attributes:
        findings: its problems.
        key: of the deployment; None if its names are wrong.
        fields: declared fields, canonical names; `infrastructure` is missing if it is inline.
        paths: where each field stands in the document.
        inline: the inline infrastructure, if there is one.
    """

    findings: Findings
    key: Key | None = None
    fields: dict[str, Value] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    inline: Inline | None = None

    def take(self, name: str, value: Value, path: Path) -> None:
        """Take a field, unless it is there already under another name."""
        if name in self.paths:
            message = f"{path[-1]} says the same as {self.paths[name][-1]}"
            self.findings.error(path, message, "keep one of them")
            return
        self.fields[name] = value
        self.paths[name] = path


def read_document(document: Document) -> Reading:
    """Read a document of any of the three shapes; every problem ends up in the findings."""
    reading = Reading(Findings(document))
    if document.shape == PREFECT_YAML and not any(document.value.get(k) for k in _TEMPLATE):
        reading.findings.warn((), "a deployment without name, flow and entrypoint is passed over")
        return reading
    reading.key = _key(document, reading.findings)
    for name, value, path in _flat(document, reading.findings):
        _read_field(reading, name, value, path)
    _queue_defaults(reading)
    _check_combination(reading)
    return reading


def places(document: Document, reading: Reading) -> dict[str, Place]:
    """Return the places of fields by field path, as deep as mappings go."""
    names: dict[Path, list[str]] = {}
    for name, path in reading.paths.items():
        names.setdefault(path, []).append(name)
    result = {name: document.at(*path) for name, path in reading.paths.items()}
    for found, place in document.places.items():
        for depth in range(len(found) - 1, -1, -1):
            if not isinstance(found[depth], str):
                break
            for name in names.get(found[:depth], ()):
                result[_field_path(name, found[depth:])] = place
    return result


def _field_path(name: str, rest: Path) -> str:
    path = name
    for key in rest:
        path = join(path, str(key))
    return path


def _key(document: Document, findings: Findings) -> Key | None:
    flow = _name(document.value.get("flow_name"), "flow_name", findings)
    name = _name(document.value.get("name"), "name", findings)
    return Key.of("deployment", flow, name) if flow and name else None


def _name(value: object, word: str, findings: Findings) -> str | None:
    if value is None or value == "":
        hint = "Prefect would take it from the code; write it down" if word == "flow_name" else None
        findings.error((word,), f"{word} is missing", hint)
        return None
    if not isinstance(value, str):
        findings.error((word,), f"{word} must be a text", "quote it")
        return None
    bad = next((letter for letter in _REFUSED if letter in value), None)
    if bad or value in (".", ".."):
        findings.error((word,), f"Prefect takes no {bad or value} in a name", "use a dash")
        return None
    if (
        not value.isprintable()
    ):  # Prefect takes them; in a plan they would forge lines and hide text
        hint = "leave out line ends, control characters and marks of writing direction"
        findings.error((word,), f"{word} holds a character that can't be seen", hint)
        return None
    return value


def _flat(document: Document, findings: Findings) -> Iterator[tuple[str, Value, Path]]:
    """Yield (key, value, path) of all fields, unpacking what `prefect.yaml` nests; check the keys."""
    yaml = document.shape == PREFECT_YAML
    for key, value in document.value.items():
        if key in (*_NAMES, TRIGGERS) or key in _IGNORED.get(document.shape, ()):
            continue
        if key in _NOT_OURS and document.shape != "native":
            if value:
                what = _NOT_OURS[key]
                findings.warn((key,), f"{key} is passed over: {what} is not kept by a deployment")
        elif yaml and key == "work_pool":
            yield from _work_pool(value, findings)
        elif yaml and key == "pull":
            yield "pull_steps", value, (key,)
        elif key in FIELDS or key in _ALIASES:
            yield key, value, (key,)
        else:
            _unknown(key, document.shape, findings)


def _unknown(key: str, shape: str, findings: Findings) -> None:
    if key in ("version_info", "global_concurrency_limit_id"):
        findings.error((key,), f"{key} can't be declared: the API does not return what was written")
        return
    extra = ("work_pool", "pull") if shape == PREFECT_YAML else ()
    hint = did_you_mean(key, (*FIELDS, *_ALIASES, *_NAMES[1:], TRIGGERS, "reconcile", *extra))
    findings.error((key,), f"unknown key {key!r}", hint)


def _work_pool(value: Value, findings: Findings) -> Iterator[tuple[str, Value, Path]]:
    if value is None:
        return
    if not isinstance(value, Mapping):
        findings.error(("work_pool",), "work_pool must be a mapping")
        return
    names = {
        "name": "work_pool_name",
        "work_queue_name": "work_queue_name",
        "job_variables": "job_variables",
    }
    for key, inner in value.items():
        if key in names:
            yield names[key], inner, ("work_pool", key)
        else:
            findings.error(("work_pool", key), f"unknown key {key!r}", did_you_mean(key, names))


def _read_field(reading: Reading, name: str, value: Value, path: Path) -> None:
    if value is None and name in _NULL_MEANS_UNSAID:
        return
    special = _SPECIAL.get(name)
    if special is not None:
        special(reading, value, path)
        return
    canonical = _ALIASES.get(name, name)
    check = FIELDS[canonical].check
    wrong = check(value) if check and value is not None else None
    if wrong:
        reading.findings.error(path, f"{name} {wrong}")
    if name == "parameter_openapi_schema" and isinstance(value, Mapping):
        # `prefect deployment build` writes `required: null`, which is no JSON Schema.
        value = {key: inner for key, inner in value.items() if inner is not None}
    reading.take(canonical, value, path)


def _schedules(reading: Reading, value: Value, path: Path) -> None:
    reading.take("schedules", read_schedules(value, path, reading.findings), path)


def _one_schedule(reading: Reading, value: Value, path: Path) -> None:
    if value:  # `schedule: {}` of a fresh prefect.yaml says nothing
        read = read_schedule(value, path, reading.findings)
        reading.take("schedules", [read] if read else [], path)


def _active(reading: Reading, value: Value, path: Path) -> None:
    if not isinstance(value, bool):
        reading.findings.error(path, "is_schedule_active must be true or false")
        return
    reading.take("paused", not value, path)


def _limit(reading: Reading, value: Value, path: Path) -> None:
    """Read `concurrency_limit`, which prefect.yaml also writes as a mapping."""
    if isinstance(value, Mapping):
        options = {key: inner for key, inner in value.items() if key != "limit"}
        if options:
            _read_field(reading, "concurrency_options", options, path)
        value = value.get("limit")
    wrong = FIELDS["concurrency_limit"].check
    message = wrong(value) if wrong and value is not None else None
    if message:
        reading.findings.error(path, f"concurrency_limit {message}")
    reading.take("concurrency_limit", value, path)


def _entrypoint(reading: Reading, value: Value, path: Path) -> None:
    fits = isinstance(value, str) and _ENTRYPOINT.fullmatch(value)
    if value is not None and not isinstance(value, Secret) and not fits:
        example = "for example flows/etl.py:etl or package.module.flow"
        reading.findings.error(path, "not an entrypoint", example)
    reading.take("entrypoint", value, path)


def _storage(reading: Reading, value: Value, path: Path) -> None:
    if isinstance(value, Mapping):
        saved = _saved(value)
        if saved is None:
            hint = "declare a Block and write storage: <slug>/<name>"
            reading.findings.error(path, "storage must be a saved block", hint)
        value = saved
    reading.take("storage", _block(reading, value, path), path)


def _infrastructure(reading: Reading, value: Value, path: Path) -> None:
    if isinstance(value, Mapping):
        saved = _saved(value)
        if saved is None:
            _inline(reading, value, path)
            return
        value = saved
    reading.take("infrastructure", _block(reading, value, path), path)


def _saved(value: Mapping[str, Value]) -> str | None:
    """Return `slug/name` of a block that `prefect deployment build` wrote out."""
    slug = value.get("_block_type_slug") or value.get("block_type_slug")
    name = value.get("_block_document_name")
    if slug and name and not value.get("_is_anonymous"):
        return f"{slug}/{name}"
    return None


def _inline(reading: Reading, value: Mapping[str, Any], path: Path) -> None:
    slug = value.get("_block_type_slug") or value.get("block_type_slug") or value.get("type")
    if not isinstance(slug, str) or not _SLUG.fullmatch(slug):
        hint = "for example type: process, or a saved block: process/name"
        reading.findings.error(path, "an inline infrastructure needs its type", hint)
        return
    data = {key: _nested(inner) for key, inner in _own_keys(value).items() if key != "type"}
    reading.inline = Inline(slug, data, path)
    reading.paths["infrastructure"] = path


def _nested(value: Value) -> Value:
    """Return a block inside a block, as `prefect deployment build` wrote it out, as people write it."""
    if not isinstance(value, Mapping) or not value.keys() & {"_block_type_slug", _SLUG_KEY}:
        return value
    saved = _saved(value)
    return _own_keys(value) if saved is None else {"$ref": saved}


def _own_keys(value: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what Prefect says about a block beside its data."""
    return {k: v for k, v in value.items() if not k.startswith("_") and k != _SLUG_KEY}


def _block(reading: Reading, value: Value, path: Path) -> Ref | None:
    if value is None:
        return None
    slug, slash, name = value.partition("/") if isinstance(value, str) else ("", "", "")
    if not slash or not _SLUG.fullmatch(slug) or not _SLUG.fullmatch(name):
        message = f"{path[-1]} must name a block: <type slug>/<name>"
        reading.findings.error(path, message, "for example docker-container/etl")
        return None
    return Ref(Key.of("block", slug, name))


_SPECIAL = {
    "schedules": _schedules,
    "schedule": _one_schedule,
    "is_schedule_active": _active,
    "concurrency_limit": _limit,
    "entrypoint": _entrypoint,
    "storage": _storage,
    "infrastructure": _infrastructure,
}


def _queue_defaults(reading: Reading) -> None:
    """Name queue and pool where the document doesn't: with null, runs never start (DESIGN 5)."""
    if "work_pool_name" in reading.fields:
        return
    reading.fields["work_pool_name"] = DEFAULT_POOL
    reading.fields.setdefault("work_queue_name", DEFAULT_QUEUE)


def _check_combination(reading: Reading) -> None:
    if reading.fields.get("pull_steps") and reading.fields.get("storage"):
        message = "storage has no effect beside pull_steps"
        reading.findings.warn(reading.paths["storage"], message, "keep one of them")
