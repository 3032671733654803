"""Every field of every kind: declared, applied, exported and equal; the export plans nothing."""

import json
import re

import pytest
import yaml

from reconciler.blocks.registry import BLOCK_TYPES
from reconciler.cli.exportwork import write
from reconciler.controller.export import Choice, export
from reconciler.kinds import KINDS
from reconciler.model.paths import split
from reconciler.model.plan import Action
from tests.fakes.block_fields import FIELDS
from tests.fakes.field_table import (
    NAMES,
    VALUES,
    documents,
    secrets_said,
    targets,
)
from tests.integration.reconciling import repository
from tests.testbed import seed

POLICY = "name: trip\nsecrets: [{env: RECONCILER_SECRET_}]\n"
_EXPRESSION = re.compile(r"\$\{\{ secrets\.\w+ \}\}")
# What a server adds by itself; said in an export, since another server would take it otherwise.
_GIVEN_BY_SERVERS = {
    "WorkQueue": ("priority",),
    "Deployment": ("enforce_parameter_schema", "work_queue_name"),
}
_SECRET = "<secret>"


def test_the_table_has_every_field_of_every_kind():
    assert set(NAMES) == {kind.name for kind in KINDS}
    for kind in KINDS:
        if kind.name == "Block":
            assert {model.slug: set(model.model_fields) for model in BLOCK_TYPES} == {
                slug: set(fields) for slug, fields in FIELDS.items()
            }
            continue
        properties = {*kind.schema()["properties"]} - {"kind", *NAMES[kind.name]}
        assert set(VALUES[kind.name]) == properties, kind.name


@pytest.mark.anyio
@pytest.mark.prefect
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", list(NAMES))
async def test_what_was_applied_is_exported_equal_and_the_export_plans_nothing(
    automating, tmp_path, kind
):
    secrets: dict[str, str] = {}
    declared = [secrets_said(one, secrets) for one in documents(kind, v2=automating.major == 2)]
    around = targets(_referred(declared))
    (tmp_path / "first").mkdir()
    (tmp_path / "out").mkdir()
    async with repository(automating, tmp_path / "first") as repo:
        repo.secrets = {f"RECONCILER_SECRET_{name}": value for name, value in secrets.items()}
        repo.write("reconciler.yaml", POLICY)
        repo.write("all.yaml", yaml.safe_dump_all([*around, *declared]))
        report = await repo.apply()
        assert report.converged, [
            (str(o.change.key), o.error, o.remaining) for o in report.outcomes
        ]
        tree = await export(repo.desk(), Choice())
    assert all("manifest_path is left out" in note for note in tree.notes), tree.notes
    found = {_key(one): one for one in map(yaml.safe_load, tree.files.values())}
    wanted = {_key(one): one for one in declared}
    for key, one in wanted.items():
        assert _comparable(found[key]) == _expected(one, _comparable(found[key])), key

    with automating.client() as client:
        for one in seed.listing(client, "block_documents"):
            if one["block_type"]["slug"] == "reconciler-inventory":
                seed.request(client, "DELETE", f"/block_documents/{one['id']}")
    write(tree, tmp_path / "out", force=False)
    (tmp_path / "out" / "reconciler.yaml").write_text(POLICY)
    async with repository(automating, tmp_path / "out") as repo:
        repo.secrets = {
            f"RECONCILER_SECRET_{name}": _secret(place, [*around, *declared], secrets)
            for name, place in tree.secrets.items()
        }
        plan = await repo.plan()
        other = [
            (str(c.key), c.reason, c.fields) for c in plan.changes if c.action is not Action.ADOPT
        ]
        assert other == []
        assert (await repo.apply()).converged
        assert (await repo.plan()).empty


def _referred(declared):
    """Return the types of the blocks that these documents refer to."""
    return set(re.findall(r'"\$ref": "([a-z0-9-]+)/target"', json.dumps(declared)))


def _key(document):
    names = [name for name in NAMES[document["kind"]] if name in document]
    return (document["kind"], *(f"{name}={document[name]}" for name in names))


def _comparable(value):
    """Secrets are what they are, however they are called; a set has no order."""
    if isinstance(value, dict):
        return {
            key: sorted(inner) if key == "tags" else _comparable(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_comparable(inner) for inner in value]
    return _EXPRESSION.sub(_SECRET, value) if isinstance(value, str) else value


def _expected(document, found):
    """Return a document as an export says it: without defaults, by one word for each field."""
    given = {k: found[k] for k in _GIVEN_BY_SERVERS.get(document["kind"], ()) if k in found}
    made = {**given, **document}
    if made["kind"] == "Block":  # its type goes without saying
        data = {key: value for key, value in made.pop("data").items() if key != "type"}
        made |= {"data": data} if data else {}
    if made["kind"] == "Deployment":
        made.pop("triggers", None)  # an automation of its own, in the export
        made.pop("manifest_path", None)  # left out, and said so: 3.x could not take it
        if "schedule" in made:
            made["schedules"] = [made.pop("schedule")]
        if made.pop("is_schedule_active", None) is False:
            made["paused"] = True
        if "job_variables" in made:
            made["infra_overrides"] = made.pop("job_variables")
    return _as_secret(_comparable(made), found)


def _as_secret(value, found):
    """What is secret by its type comes out as a secret, though it was written in the open."""
    if found == _SECRET:
        return _SECRET
    if isinstance(value, dict) and isinstance(found, dict):
        return {key: _as_secret(inner, found.get(key)) for key, inner in value.items()}
    return value


def _secret(place, declared, secrets):
    """Return the value that was declared at a place of the export: `block/x/y data.z`."""
    key, path = place.split(" ", 1)
    kind, *names = key.split("/")
    [document] = [
        one
        for one in declared
        if _prefix(one["kind"]) == kind and [one[n] for n in NAMES[one["kind"]]] == names
    ]
    value = document
    for step in split(path):
        value = value[step]
    if isinstance(value, str):
        name = value.removeprefix("${{ secrets.").removesuffix(" }}")
        return secrets.get(name, value)
    return json.dumps(value)


def _prefix(kind):
    return next(one.prefix for one in KINDS if one.name == kind)
