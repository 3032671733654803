"""The kind BlockType on real servers: whole life, blocks of the type, what a delete would take."""

import pytest
import yaml

from reconciler.controller.export import Choice, export
from reconciler.errors import InvalidManifests
from reconciler.model.plan import Action, Cause
from tests.integration.reconciling import release, repository
from tests.testbed import seed
from tests.testbed.thorough import places

pytestmark = [pytest.mark.anyio, pytest.mark.prefect]

SCHEMA = {
    "properties": {
        "host": {"type": "string", "title": "Host"},
        "port": {"type": "integer", "default": 5432},
        "password": {"type": "string", "format": "password"},
        "tuning": {"allOf": [{"$ref": "#/definitions/Tuning"}]},
    },
    "required": ["host"],
    "definitions": {"Tuning": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}
TYPE = {
    "kind": "BlockType",
    "slug": "warehouse",
    "name": "Warehouse",
    "description": "Where it all ends up.",
    "documentation_url": "https://docs.test/warehouse",
    "logo_url": "https://docs.test/logo.png",
    "code_example": "x = 1",
    "capabilities": ["query", "load"],
    "block_schema": SCHEMA,
}
BLOCK = {
    "kind": "Block",
    "block_type_slug": "warehouse",
    "name": "main",
    "data": {"host": "h", "password": "${{ secrets.PASSWORD }}", "tuning": {"a": 1}},
}
SECRET = "canary-warehouse"


@pytest.fixture
async def repo(server, tmp_path):
    async with repository(server, tmp_path) as made:
        made.secrets = {"RECONCILER_SECRET_PASSWORD": SECRET}
        policy = "name: prod\nsecrets: [{env: RECONCILER_SECRET_}]\nprune: {max_share: 100%}\n"
        made.write("reconciler.yaml", policy)
        yield made


@pytest.fixture
def client(server):
    with server.client() as made:
        yield made


def put(repo, **changes):
    repo.write("type.yaml", yaml.safe_dump({**TYPE, **changes}))


async def applied(repo, **options):
    report = await repo.apply(**options)
    assert report.converged, [(str(o.change.key), o.error, o.remaining) for o in report.outcomes]
    assert (await repo.plan()).empty
    return report


def live(client):
    return seed.request(client, "GET", "/block_types/slug/warehouse")


def schemas(client):
    wanted = {"block_schemas": {"block_type_id": {"any_": [live(client)["id"]]}}}
    found = seed.request(client, "POST", "/block_schemas/filter", wanted)
    return sorted(found, key=lambda one: one["created"])


async def test_a_type_and_its_block_are_made_at_once_and_live_on(repo, client):
    put(repo)
    repo.write("block.yaml", yaml.safe_dump(BLOCK))
    levels = [str(key) for level in (await repo.plan()).levels for key in level]
    assert levels == ["block-type/warehouse", "block/warehouse/main"]
    await applied(repo)
    made = live(client)
    texts = ("name", "description", "logo_url", "documentation_url", "code_example")
    assert {k: made[k] for k in texts} == {k: TYPE[k] for k in texts}
    [schema] = schemas(client)
    assert schema["fields"]["secret_fields"] == ["password"]
    assert sorted(schema["capabilities"]) == ["load", "query"]
    document = seed.request(client, "GET", "/block_types/slug/warehouse/block_documents/name/main")
    assert document["data"]["password"] == "********"

    put(repo, description="Elsewhere.", logo_url=None)
    [change] = (await repo.plan()).changes
    assert (change.action, change.cause) == (Action.UPDATE, Cause.GIT)
    await applied(repo)
    assert (live(client)["description"], live(client)["logo_url"]) == ("Elsewhere.", None)

    seed.request(client, "PATCH", f"/block_types/{made['id']}", {"code_example": "theirs"})
    [change] = (await repo.plan()).changes
    assert change.cause is Cause.DRIFT
    await applied(repo)
    assert live(client)["code_example"] == "x = 1"


async def test_a_changed_schema_is_a_newer_one_and_so_is_the_one_before(repo, client):
    put(repo)
    await applied(repo)
    wider = {**SCHEMA, "properties": {**SCHEMA["properties"], "user": {"type": "string"}}}
    for number, schema in enumerate((wider, SCHEMA, wider), start=2):
        put(repo, block_schema=schema)
        await applied(repo)
        found = schemas(client)
        assert len(found) == number
        assert ("user" in found[-1]["fields"]["properties"]) is (schema is wider)
    put(repo, block_schema=wider, capabilities=["query"])
    await applied(repo)
    assert schemas(client)[-1]["capabilities"] == ["query"]
    # A block with the new field is judged by the schema that the same tree declares.
    narrow = {**BLOCK, "data": {"host": "h", "pool": 3}}
    repo.write("block.yaml", yaml.safe_dump(narrow))
    with pytest.raises(InvalidManifests) as caught:
        await repo.plan()
    [problem] = caught.value.problems
    assert "block.yaml" in str(problem)
    assert "warehouse has no field 'pool'" in str(problem)
    wider["properties"]["pool"] = {"type": "integer"}
    put(repo, block_schema=wider)
    await applied(repo)


async def test_a_delete_is_held_with_all_that_it_would_take(repo, client):
    put(repo, name="Warehouse")
    await applied(repo)
    [schema] = schemas(client)
    body = {"block_type_id": live(client)["id"], "block_schema_id": schema["id"]}
    theirs = seed.request(
        client, "POST", "/block_documents/", {"name": "theirs", "data": {"host": "h"}, **body}
    )["id"]
    seed.deployment(client, "uses-it", infrastructure_document_id=theirs, entrypoint="f.py:f")
    run = seed.flow_run(client, seed.find_deployment(client, "uses-it")["id"])
    seed.set_state(client, run["id"], "COMPLETED")
    repo.remove("type.yaml")
    [change] = (await repo.plan(allow_deletes=5)).changes
    assert change.action is Action.BLOCKED
    said = " ".join((change.reason, *change.effects))
    assert "deletes block/warehouse/theirs" in said
    assert "uses-it" in said
    assert "history of 1 flow run" in said
    await repo.apply(allow_deletes=5)
    assert live(client)["slug"] == "warehouse"
    assert (await repo.apply(allow_deletes=5, allow_cascade=("block-type/warehouse",))).converged
    assert client.get("/block_types/slug/warehouse").status_code == 404
    assert client.get(f"/block_documents/{theirs}").status_code == 404


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False], ids=["unsent", "unanswered"])
async def test_killed_at_any_call_of_a_create_the_next_apply_converges(
    repo, server, client, before
):
    repo.write("kept.yaml", yaml.safe_dump({**TYPE, "slug": "kept", "name": "Kept"}))
    await applied(repo)
    deaths = 0
    for number in places(60, server.major, before):
        slug = f"t{number}"
        documents = [{**TYPE, "slug": slug, "name": slug}, {**BLOCK, "block_type_slug": slug}]
        repo.write("type.yaml", yaml.safe_dump_all(documents))
        if not await repo.killed_at(number, before=before, allow_deletes=9):
            break
        deaths += 1
        release(client)
        await applied(repo, allow_deletes=9)
        made = seed.request(client, "GET", f"/block_types/slug/{slug}")
        entries = await repo.entries()
        ids = {entry.id for key, entry in entries.items() if key.kind == "block-type"}
        assert made["id"] in ids
        assert len(ids) == 2, "the one before it is deleted, and forgotten"
    assert deaths > 2


async def test_an_export_says_it_again_and_leaves_prefects_own_types_out(repo, client):
    put(repo)
    repo.write("block.yaml", yaml.safe_dump(BLOCK))
    await applied(repo)
    tree = await export(repo.desk(), Choice(kinds=("BlockType",)))
    [text] = tree.files.values()
    wanted = {**TYPE, "capabilities": sorted(TYPE["capabilities"])}
    assert yaml.safe_load(text) == wanted
    repo.write("type.yaml", text)
    assert (await repo.plan()).empty


async def test_a_type_and_its_blocks_go_together(repo, client):
    put(repo)
    repo.write("block.yaml", yaml.safe_dump(BLOCK))
    await applied(repo)
    repo.remove("type.yaml")
    repo.remove("block.yaml")
    assert (await repo.apply(allow_deletes=5)).converged
    assert client.get("/block_types/slug/warehouse").status_code == 404


async def test_a_type_that_a_package_brought_is_not_written_over(repo, client):
    repo.write("type.yaml", yaml.safe_dump({**TYPE, "slug": "docker-host", "name": "Docker Host"}))
    [change] = (await repo.plan()).changes
    assert change.action is Action.BLOCKED
    assert change.wanted is Action.ADOPT or "adopt" in change.reason


async def test_another_type_of_that_name_is_a_conflict(repo, client):
    seed.request(client, "POST", "/block_types/", {"name": "Warehouse", "slug": "other"})
    put(repo)
    [outcome] = (await repo.apply()).outcomes
    assert "a block type named 'Warehouse' with the slug 'other'" in str(outcome.error)
