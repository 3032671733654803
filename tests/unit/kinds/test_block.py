"""The kind Block on a server in memory: what it sends, and what it makes of the answers."""

import httpx
import pytest

from reconciler.api import block_usage, blocks
from reconciler.errors import AlreadyExists, Conflict, Overloaded, Refused, Unsupported
from reconciler.kinds.block import Block, ensure_registered
from reconciler.model.desired import Document
from reconciler.model.fingerprint import Fingerprinter
from reconciler.model.keys import Key
from reconciler.model.live import Live
from reconciler.model.places import Place
from reconciler.model.server import ServerFacts, Version
from reconciler.model.values import MASKED, Masked, Ref, Secret, UnknownRef
from tests.fakes.prefect_blocks import BlockServer, session_on

pytestmark = pytest.mark.anyio

KIND = Block()
PRINTS = Fingerprinter(b"k")
THING = {
    "properties": {"port": {"type": "integer", "default": 1}, "token": {"type": "string"}},
    "secret_fields": ["token"],
}


def same(one, other):
    return PRINTS.of(one) == PRINTS.of(other)


@pytest.fixture
def server():
    made = BlockServer()
    made.add_type("thing")
    made.add_schema("thing", THING)
    return made


def parsed(slug, data, name="x"):
    value = {"kind": "Block", "block_type_slug": slug, "name": name, "data": data}
    places = {("data", "port"): Place("b.yaml", 7, 3), ("data", "token"): Place("b.yaml", 8, 3)}
    result = KIND.parse(Document(value, Place("b.yaml", 1, 1), places))
    assert result.problems == ()
    return result.declarations[0]


async def declared(session, slug, data, name="x"):
    made, problems = await KIND.conform(parsed(slug, data, name), session)
    assert problems == ()
    return made


async def created(session, slug, data, name="x"):
    made = await declared(session, slug, data, name)
    written = await KIND.create(session, made.key, made.fields)
    assert not written.existed
    return await KIND.read(session, made.key, written.id)


def test_data_is_the_only_field_and_absent_means_the_defaults():
    rules = KIND.rules(ServerFacts(Version(3), "u"))
    assert list(rules.fields) == ["data"]
    assert rules.fields["data"].default == {}
    assert KIND.align({"data": {"a": 1}}, {"data": {}}) == {"data": {"a": 1}}
    assert KIND.schema()["title"] == "Block"
    assert KIND.recognises(Document({"block_type_slug": "s", "name": "n"}, Place("f")))


async def test_secrets_leave_in_the_open_only_at_the_request(server):
    async with session_on(server) as session:
        live = await created(session, "thing", {"token": "canary-77"})
    [row] = server.documents.values()
    assert row["data"] == {"token": "canary-77"}
    assert "canary" not in repr(live)
    assert isinstance(live.fields["data"]["token"], Secret)


async def test_a_missing_shipped_type_is_registered_with_what_it_refers_to(server):
    async with session_on(server) as session:
        await created(session, "docker-container", {})
    writes = [a for a in server.asked if a in ("POST /block_types/", "POST /block_schemas/")]
    assert writes == ["POST /block_types/", "POST /block_schemas/"] * 2
    assert list(server.types) == ["thing", "docker-registry", "docker-container"]
    references = server.schemas[-1]["fields"]["block_schema_references"]
    child = [s for s in server.schemas if s["fields"].get("title") == "DockerRegistry"]
    assert references["image_registry"]["block_schema_checksum"] == child[0]["checksum"]


async def test_registering_again_in_a_session_asks_nothing(server):
    async with session_on(server) as session:
        await ensure_registered(session, "process")
        before = len(server.asked)
        await ensure_registered(session, "process")
        assert len(server.asked) == before


async def test_a_type_without_a_schema_gets_one(server):
    server.add_type("process", "Process")
    async with session_on(server) as session:
        await ensure_registered(session, "process")
    assert "POST /block_types/" not in server.asked
    assert len(server.schemas) == 2


async def test_a_type_whose_name_is_taken_is_a_conflict_that_names_the_other(server):
    server.add_type("other", "Process")
    async with session_on(server) as session:
        with pytest.raises(Conflict, match=r"'Process' with the slug 'other'"):
            await ensure_registered(session, "process")


@pytest.mark.parametrize("status", [409, 503])
async def test_losing_the_race_for_a_type_takes_the_winners(server, status):
    def lose(request):
        post = request.method == "POST" and request.url.path.endswith("/block_types/")
        if post and "process" not in server.types:
            server.add_type("process", "Process")
            return httpx.Response(status, json={})
        return None

    server.interrupt = lose
    async with session_on(server) as session:
        made = await ensure_registered(session, "process")
    assert made.type_id == server.types["process"]["id"]


@pytest.mark.parametrize(("status", "error"), [(409, AlreadyExists), (503, Overloaded)])
async def test_a_registration_that_never_gets_through_is_said(server, status, error):
    def fail(request):
        if request.method == "POST" and request.url.path.endswith("/block_types/"):
            return httpx.Response(status, json={})
        return None

    server.interrupt = fail
    async with session_on(server) as session:
        with pytest.raises(error):
            await ensure_registered(session, "process")


async def test_a_type_that_nobody_ships_is_a_problem_and_never_invented(server):
    async with session_on(server) as session:
        _, [problem] = await KIND.conform(parsed("strange", {}), session)
        assert "has no block type strange" in problem.message
        assert "prefect block register" in problem.hint
        with pytest.raises(Unsupported):
            await KIND.create(session, Key.of("block", "strange", "x"), {"data": {}})
    assert all(asked.startswith(("GET", "POST /block_schemas/filter")) for asked in server.asked)


async def test_problems_of_other_types_stand_at_their_places(server):
    async with session_on(server) as session:
        _, problems = await KIND.conform(
            parsed("thing", {"port": "x", "token": "********"}), session
        )
    assert [str(p) for p in problems] == [
        "b.yaml:7:3: port must be a whole number",
        (
            "b.yaml:8:3: eight stars can't be a secret: Prefect takes them for 'keep what you"
            " have' (use ${{ secrets.NAME }})"
        ),
    ]


async def test_the_newest_schema_of_a_package_counts_for_new_documents(server):
    server.add_schema("thing", THING, version="2")
    newest = server.add_schema("thing", THING, version="3")
    server.add_schema("thing", THING, version="non-versioned")
    async with session_on(server) as session:
        assert (await ensure_registered(session, "thing")).schema_id == newest["id"]


async def test_an_older_document_is_compared_by_the_schema_that_judged_git(server):
    """Else a default that moved between the schemas would differ for ever."""
    server.add_document("thing", "x", {"port": 1, "token": "t"})
    server.add_schema(
        "thing", {"properties": {"port": {"type": "integer", "default": 2}, "token": {}}}
    )
    async with session_on(server) as session:
        wanted = await declared(session, "thing", {"port": 1, "token": "t"})
        live = await KIND.find(session, wanted.key)
        assert same(live.fields, wanted.fields)
        assert isinstance(live.fields["data"]["token"], Secret), "the server masks by the old one"


async def test_references_are_sent_by_id_and_read_by_key(server):
    async with session_on(server) as session:
        child = await created(
            session,
            "docker-registry",
            {"username": "u", "password": "p", "registry_url": "r"},
            name="private",
        )
        live = await created(
            session, "docker-container", {"image_registry": {"$ref": "docker-registry/private"}}
        )
        assert live.fields == {"data": {"image_registry": Ref(child.key)}}
        assert server.documents[live.id]["data"] == {
            "image_registry": {"$ref": {"block_document_id": child.id}}
        }


async def test_an_anonymous_child_goes_back_by_its_id(server):
    async with session_on(server) as session:
        await ensure_registered(session, "docker-container")
        child = server.add_document("docker-registry", "anonymous-1", {}, anonymous=True)
        live = await created(session, "docker-container", {})
        await KIND.update(session, live, {"data": {"image_registry": UnknownRef(child["id"])}})
        again = await KIND.read(session, live.key, live.id)
        assert again.fields == {"data": {"image_registry": UnknownRef(child["id"])}}


async def test_a_masked_secret_goes_back_as_the_servers_own_stars(server):
    async with session_on(server) as session:
        await created(session, "gcp-credentials", {"service_account_info": {"a": {"b": "s"}}})
    async with session_on(server, secrets=False) as session:
        [live] = [live async for live in KIND.listing(session)]
        assert live.fields["data"]["service_account_info"] is MASKED
        await KIND.update(session, live, live.fields)
    [row] = server.documents.values()
    assert row["data"] == {"service_account_info": {"a": {"b": "********"}}}


async def test_an_update_without_masks_reads_nothing(server):
    async with session_on(server) as session:
        live = await created(session, "thing", {})
        before = len(server.asked)
        await KIND.update(session, live, {"data": {"port": 5, "names": ["a", {"b": [1]}]}})
        assert server.asked[before:] == [f"PATCH /block_documents/{live.id}"]
        assert server.documents[live.id]["data"] == {"port": 5, "names": ["a", {"b": [1]}]}


@pytest.mark.parametrize(
    "data", [{"token": MASKED}, {"names": [MASKED]}, {"deep": {"x": Masked()}}]
)
async def test_a_secret_that_was_not_read_is_never_written(server, data):
    async with session_on(server) as session:
        with pytest.raises(Refused, match="wasn't read"):
            await KIND.create(session, Key.of("block", "thing", "x"), {"data": data})
        live = await created(session, "thing", {})
        with pytest.raises(Refused):
            await KIND.update(session, live, {"data": data})
    assert next(iter(server.documents.values()))["data"] == {}


async def test_an_update_of_a_document_that_vanished_is_refused_where_secrets_hang_on_it(server):
    async with session_on(server) as session:
        gone = Live(Key.of("block", "thing", "x"), "404", {})
        with pytest.raises(Refused):
            await KIND.update(session, gone, {"data": {"token": MASKED}})


async def test_listing_passes_over_our_books_and_anonymous_documents(server):
    for slug in ("reconciler-inventory", "reconciler-lease"):
        server.add_type(slug)
        server.add_schema(slug, {})
        server.add_document(slug, "x", {"key": "canary-77"})
    server.add_document("thing", "named", {})
    server.add_document("thing", "anonymous-1", {}, anonymous=True)
    async with session_on(server) as session:
        found = [live.key async for live in KIND.listing(session)]
        assert found == [Key.of("block", "thing", "named")]
        assert list(session.index.ids) == found


async def test_what_is_gone_is_none_and_deleting_it_is_fine(server):
    async with session_on(server) as session:
        live = await created(session, "thing", {})
        await KIND.delete(session, live)
        await KIND.delete(session, live)
        assert live.key not in session.index.ids
        assert await KIND.find(session, live.key) is None
        assert await KIND.read(session, live.key, live.id) is None
        assert not (await KIND.evidence(session, live.key, live.id)).present


def run(document, state="COMPLETED", deployment=None, run_count=0):
    return {
        "run_count": run_count,
        "infrastructure_document_id": document,
        "state_type": state,
        "deployment_id": deployment,
    }


def deployment(id_, *, infrastructure=None, storage=None):
    return {
        "id": id_,
        "name": id_,
        "flow_id": "flow",
        "infrastructure_document_id": infrastructure,
        "storage_document_id": storage,
    }


async def test_evidence_counts_history_and_leaves_out_what_goes_with_its_deployment(server):
    document = server.add_document("thing", "x", {})["id"]
    server.deployments = [
        deployment("d1", infrastructure=document),
        deployment("d2", storage=document),
        deployment("d3"),
    ]
    server.runs = [
        run(document),
        run(document, "CRASHED"),
        run(document, "RUNNING"),
        run(document, "SCHEDULED", "d1"),
        run(document, "SCHEDULED", "d3"),
        run(None),
        run("other"),
    ]
    async with session_on(server) as session:
        found = await KIND.evidence(session, Key.of("block", "thing", "x"), document)
    assert found.takes == {"d1": "deletes deployment/etl/d1", "d2": "deletes deployment/etl/d2"}
    assert found.cascades == ("deletes the history of 4 flow runs",)
    assert found.active_runs == 1


async def test_runs_that_never_began_and_whose_deployment_is_gone_are_no_history(server):
    document = server.add_document("thing", "x", {})["id"]
    server.runs = [run(document, "SCHEDULED", "gone"), run(document, "SCHEDULED", None)]
    async with session_on(server) as session:
        found = await KIND.evidence(session, Key.of("block", "thing", "x"), document)
    assert found.cascades == ()
    server.runs.append(run(document, "SCHEDULED", "gone", run_count=1))  # awaits its retry
    async with session_on(server) as session:
        found = await KIND.evidence(session, Key.of("block", "thing", "x"), document)
    assert found.cascades == ("deletes the history of 1 flow run",)


async def test_evidence_of_several_deletes_reads_the_server_once(server):
    ids = [server.add_document("thing", f"x{n}", {})["id"] for n in range(3)]
    async with session_on(server) as session:
        for id_ in ids:
            await KIND.evidence(session, Key.of("block", "thing", "x"), id_)
    assert server.asked.count("POST /flow_runs/filter") == 1


async def test_counts_say_at_least_where_there_are_too_many_runs_to_read(server):
    pinned, other = (server.add_document("thing", name, {})["id"] for name in ("a", "b"))
    server.runs = [run(pinned)] + [run(None)] * (block_usage.MOST_RUNS + 10)
    async with session_on(server) as session:
        some = await KIND.evidence(session, Key.of("block", "thing", "a"), pinned)
        none = await KIND.evidence(session, Key.of("block", "thing", "b"), other)
    assert some.cascades == ("deletes the history of at least 1 flow run",)
    assert none.cascades == (
        f"may delete the history of flow runs (only the last {block_usage.MOST_RUNS} were read)",
    )


async def test_a_flow_that_vanished_meanwhile_does_not_hide_its_deployment(server):
    document = server.add_document("thing", "x", {})["id"]
    server.deployments = [deployment("d1", infrastructure=document)]
    server.flows = []
    async with session_on(server) as session:
        found = await KIND.evidence(session, Key.of("block", "thing", "x"), document)
    assert found.takes == {"d1": "deletes deployment/?/d1"}


async def test_documents_hide_their_data_when_printed(server):
    server.add_document("thing", "x", {"token": "canary-77"})
    async with session_on(server) as session:
        found = [document async for document in blocks.documents(session.api, secrets=True)]
    assert "canary" not in repr(found)
