"""The kind Block against real servers: references, secrets, registering, evidence."""

import pytest

from reconciler.api import blocks
from reconciler.blocks.prefect_schema import checksum, schema_fields
from reconciler.blocks.registry import BLOCK_TYPES
from reconciler.errors import AlreadyExists
from reconciler.kinds.block import ensure_registered
from reconciler.model.keys import Key
from reconciler.model.values import MASKED, Masked, Ref, Secret, UnknownRef
from tests.integration.blocks import (
    KIND,
    create,
    declare,
    listed,
    problems_of,
    same,
    session_with,
)
from tests.testbed import seed

pytestmark = pytest.mark.anyio

REGISTRY = {"username": "u", "password": Secret("canary-77"), "registry_url": "r"}


async def container(session, name="etl", **data):
    data = {"image": "a:1", "image_registry": {"$ref": "docker-registry/private"}, **data}
    return await create(session, "docker-container", name, data)


async def test_a_reference_is_kept_as_the_childs_key(server):
    async with session_with(server) as session:
        await create(session, "docker-registry", "private", REGISTRY)
        _, live = await container(session)
        assert live.fields["data"]["image_registry"] == Ref(
            Key.of("block", "docker-registry", "private")
        )


async def test_a_reference_survives_an_update_of_another_key(server):
    """Prefect drops references that the payload lacks when it merges."""
    async with session_with(server) as session:
        await create(session, "docker-registry", "private", REGISTRY)
        _, live = await container(session)
        wanted = await declare(
            session,
            "docker-container",
            "etl",
            {"image": "b:2", "image_registry": {"$ref": "docker-registry/private"}},
        )
        await KIND.update(session, live, wanted.fields)
        assert same((await KIND.find(session, live.key)).fields, wanted.fields)


async def test_a_reference_can_be_taken_away_and_moved(server):
    async with session_with(server) as session:
        await create(session, "docker-registry", "private", REGISTRY)
        await create(session, "docker-registry", "other", REGISTRY)
        _, live = await container(session)
        for data in (
            {"image": "a:1"},
            {"image": "a:1", "image_registry": {"$ref": "docker-registry/other"}},
        ):
            wanted = await declare(session, "docker-container", "etl", data)
            await KIND.update(session, live, wanted.fields)
            live = await KIND.read(session, live.key, live.id)
            assert same(live.fields, wanted.fields)


async def test_an_anonymous_child_is_a_reference_without_a_key(server):
    async with session_with(server) as session:
        await create(session, "docker-registry", "named", REGISTRY)
        type_ = await ensure_registered(session, "docker-registry")
        with server.client() as client:
            body = {
                "data": {"username": "u", "password": "p", "registry_url": "r"},
                "block_type_id": type_.type_id,
                "block_schema_id": type_.schema_id,
                "is_anonymous": True,
            }
            hidden = seed.request(client, "POST", "/block_documents/", body)["id"]
        _, live = await create(session, "docker-container", "etl", {})
        await KIND.update(session, live, {"data": {"image_registry": UnknownRef(hidden)}})
        live = await KIND.read(session, live.key, live.id)
        assert live.fields["data"]["image_registry"] == UnknownRef(hidden)
        assert all("anonymous" not in str(key) for key in await listed(session))


async def test_secrets_are_read_as_secrets_and_masked_without_permission(server):
    async with session_with(server) as session:
        info = {"type": "service_account", "private_key": "canary-77"}
        declared, live = await create(
            session, "gcp-credentials", "g", {"service_account_info": info}
        )
        assert isinstance(live.fields["data"]["service_account_info"], Secret)
        assert "canary" not in repr(live)
        assert "canary" not in repr(declared)
    async with session_with(server, secrets=False) as session:
        live = (await listed(session))[declared.key]
        assert live.fields["data"]["service_account_info"] is MASKED


async def test_a_masked_secret_is_kept_by_an_update(server):
    """Where a drift is only reported, the live value goes back, though we could not read it."""
    async with session_with(server) as session:
        info = {"private_key": "canary-77"}
        _, google = await create(session, "gcp-credentials", "g", {"service_account_info": info})
        _, docker = await create(session, "docker-registry", "r", {**REGISTRY, "password": "p"})
    async with session_with(server, secrets=False) as blind:
        for live in (google, docker):
            masked = await KIND.read(blind, live.key, live.id)
            assert any(isinstance(v, Masked) for v in masked.fields["data"].values())
            await KIND.update(blind, masked, masked.fields)
    async with session_with(server) as session:
        for live in (google, docker):
            assert same((await KIND.read(session, live.key, live.id)).fields, live.fields)


async def test_a_json_key_in_one_secret_stands_for_the_mapping(server):
    async with session_with(server) as session:
        text = Secret('{"private_key": "canary-77"}')
        declared, live = await create(
            session, "gcp-credentials", "g", {"service_account_info": text}
        )
        assert same(declared.fields, live.fields)
        found = await blocks.read_document(session.api, live.id, secrets=True)
        assert found.data["service_account_info"] == {"private_key": "canary-77"}


async def test_a_type_of_the_servers_own_is_judged_by_its_schema(server):
    async with session_with(server) as session:
        declared, live = await create(session, "secret", "s", {"value": Secret("canary-77")})
        assert same(declared.fields, live.fields)
        assert isinstance(live.fields["data"]["value"], Secret)
        found = await problems_of(session, "secret", "s", {"valeu": "x"})
        assert any("did you mean value?" in text for text in found)
        assert any("secret needs value" in text for text in found)
        [starred] = await problems_of(session, "secret", "s", {"value": "********"})
        assert "eight stars" in starred


async def test_a_foreign_type_checks_types_references_and_defaults(server):
    with server.client() as client:
        seed.custom_block_type(
            client,
            "thing",
            count={"type": "integer", "default": 3},
            names={"type": "array", "items": {"type": "string"}},
        )
    async with session_with(server) as session:
        declared, live = await create(session, "thing", "t", {"count": 3, "names": []})
        assert same(declared.fields, {"data": {}})
        assert same(live.fields, {"data": {}})
        found = await problems_of(session, "thing", "t", {"count": "x", "names": {"$ref": "a/b"}})
        assert [text.split(": ", 1)[1] for text in found] == [
            "count must be a whole number",
            "names of thing takes no block",
        ]


async def test_an_unknown_type_says_how_to_register_it(server):
    async with session_with(server) as session:
        [text] = await problems_of(session, "no-such-type", "t", {})
        assert "has no block type no-such-type" in text
        assert "prefect block register" in text


async def test_an_existing_name_is_a_conflict(server):
    async with session_with(server) as session:
        declared, _ = await create(session, "process", "p", {})
        with pytest.raises(AlreadyExists):
            await KIND.create(session, declared.key, declared.fields)


async def test_registering_is_done_once(server):
    async with session_with(server) as session:
        for model in BLOCK_TYPES:
            await ensure_registered(session, model.slug)
    async with session_with(server) as again:
        for model in BLOCK_TYPES:
            await ensure_registered(again, model.slug)
        assert again.api.counts.writes == 0


async def test_a_server_that_has_a_type_keeps_its_own_schema(server):
    async with session_with(server) as session:
        registered = await ensure_registered(session, "aws-credentials")
        assert registered.checksum != checksum(schema_fields_of("aws-credentials"))


async def test_the_server_computes_our_checksums(prefect3):
    async with session_with(prefect3) as session:
        for slug in (
            "process",
            "docker-registry",
            "docker-container",
            "azure-container-instance-job",
        ):
            registered = await ensure_registered(session, slug)
            references = (registered.fields.get("block_schema_references") or {}).values()
            known = {r["block_type_slug"]: r["block_schema_checksum"] for r in references}
            assert registered.checksum == checksum(schema_fields_of(slug, known))


def schema_fields_of(slug, known=None):
    [model] = [model for model in BLOCK_TYPES if model.slug == slug]
    return schema_fields(model, known)


async def test_deleting_takes_the_document_and_is_fine_twice(server):
    async with session_with(server) as session:
        _, live = await create(session, "process", "p", {})
        await KIND.delete(session, live)
        await KIND.delete(session, live)
        assert await KIND.read(session, live.key, live.id) is None
        assert await KIND.find(session, live.key) is None
        assert not (await KIND.evidence(session, live.key, live.id)).present


async def test_evidence_counts_what_the_server_would_delete_along(server):
    async with session_with(server) as session:
        _, live = await create(session, "process", "p", {})
        _, unused = await create(session, "process", "q", {})
    with server.client() as client:
        made = seed.deployment(client, infrastructure_document_id=live.id)
        runs = [seed.flow_run(client, made["id"])["id"] for _ in range(4)]
        for run, state in zip(runs, ("COMPLETED", "CRASHED", "RUNNING"), strict=False):
            seed.set_state(client, run, state)
    async with session_with(server) as session:
        found = await KIND.evidence(session, live.key, live.id)
        assert found.present
        assert found.takes == {made["id"]: "deletes deployment/etl/nightly"}
        assert found.cascades == ("deletes the history of 3 flow runs",)
        assert found.active_runs == 1
        none = await KIND.evidence(session, unused.key, unused.id)
        assert (none.present, none.takes, none.cascades) == (True, {}, ())
        before = await blocks.read_document(session.api, live.id, secrets=False)
        assert before is not None
    with server.client() as client:
        seed.request(client, "DELETE", f"/block_documents/{live.id}")
        assert seed.counts(client)["deployments"] == 0
        assert seed.counts(client)["flow_runs"] == 0, "the evidence told the truth"


async def test_evidence_names_the_blocks_that_would_lose_a_field(server):
    async with session_with(server) as session:
        _, child = await create(session, "docker-registry", "private", REGISTRY)
        _, parent = await container(session)
        found = await KIND.evidence(session, child.key, child.id)
        assert found.takes == {parent.id: "block/docker-container/etl loses its image_registry"}


async def test_our_own_books_are_never_listed(server):
    with server.client() as client:
        seed.custom_block_type(client, "reconciler-lease", holder={"type": "string"})
        seed.block(client, "reconciler-lease", "l", {"holder": "x"})
    async with session_with(server) as session:
        assert all(key.parts[0] != "reconciler-lease" for key in await listed(session))


WORDING = {"description", "title"}
KNOWN = {
    # pydantic 1 left `allOf` out where a reference had no text, and an enum's type where it had none.
    ("docker-container", "properties", "image_registry"),
    ("kubernetes-job", "definitions", "KubernetesImagePullPolicy"),
}


@pytest.mark.parametrize(
    "slug",
    [
        "process",
        "docker-container",
        "kubernetes-job",
        "docker-registry",
        "kubernetes-cluster-config",
    ],
)
async def test_our_schema_is_prefects_but_for_the_wording(prefect2, slug):
    async with session_with(prefect2) as session:
        theirs = (await ensure_registered(session, slug)).fields
    ours = schema_fields_of(slug)
    for part in (
        "type",
        "required",
        "secret_fields",
        "block_type_slug",
        "properties",
        "definitions",
    ):
        mine, real = ours.get(part), theirs.get(part)
        if isinstance(mine, dict):
            assert mine.keys() == real.keys()
            for name in mine:
                if (slug, part, name) not in KNOWN:
                    assert shape(mine[name]) == shape(real[name]), name
        else:
            assert mine == real


def shape(node):
    if isinstance(node, dict):
        return {
            key: shape(value)
            for key, value in node.items()
            if not (key in WORDING and isinstance(value, str))
        }
    return [shape(item) for item in node] if isinstance(node, list) else node
