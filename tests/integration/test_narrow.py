"""Looking only at what a revision touches, on real servers: it sees what a whole look sees."""

import pytest
import yaml

from reconciler.errors import InvalidManifests
from reconciler.model.plan import Action
from tests.fakes.field_table import NAMES, NEEDED, REQUIRED, documents, secrets_said, targets
from tests.integration.reconciling import repository
from tests.testbed import seed

pytestmark = [pytest.mark.anyio, pytest.mark.prefect, pytest.mark.timeout(300)]

POLICY = "name: narrow\nsecrets: [{env: RECONCILER_SECRET_}]\n"
MOST = 15
KEPT = {"WorkPool": ("type",), "BlockType": ("name",)}


async def applied(repo):
    """Take a whole look, and return what is known after it."""
    report, known = await repo.applied()
    assert report.converged, [(str(o.change.key), o.error, o.remaining) for o in report.outcomes]
    return known


def bare(document):
    """Return a document with as little in it as its kind allows."""
    kind = document["kind"]
    names = {name: document[name] for name in NAMES[kind] if name in document}
    if kind == "Block":
        return {"kind": kind, **names, "data": REQUIRED.get(document["block_type_slug"], {})}
    kept = {name: document[name] for name in KEPT.get(kind, ()) if name in document}
    return {"kind": kind, **names, **NEEDED[kind], **kept}


@pytest.mark.parametrize("kind", list(NAMES))
async def test_what_a_revision_adds_and_changes_is_in_force_and_the_next_plan_is_empty(
    automating, tmp_path, kind
):
    secrets: dict[str, str] = {}
    declared = [secrets_said(one, secrets) for one in documents(kind, v2=automating.major == 2)]
    declared = declared[:MOST]
    around, half = targets(set()), max(1, len(declared) // 2)
    async with repository(automating, tmp_path) as repo:
        repo.secrets = {f"RECONCILER_SECRET_{name}": value for name, value in secrets.items()}
        repo.write("reconciler.yaml", POLICY)
        repo.write("all.yaml", yaml.safe_dump_all([*around, *map(bare, declared[:half])]))
        known = await applied(repo)
        repo.write("all.yaml", yaml.safe_dump_all([*around, *declared]))
        done = await repo.touched(known)
        assert done is not None, "a whole look was asked for"
        report, known = done
        assert report.converged, [
            (str(o.change.key), o.error, o.remaining) for o in report.outcomes
        ]
        assert {c.action.value for c in report.plan.changes} <= {"create", "update"}
        assert report.plan.count(Action.CREATE) >= len(declared) - half
        assert (await repo.plan()).empty
        repo.write("all.yaml", yaml.safe_dump_all([*around, *map(bare, declared)]))
        done = await repo.touched(known)
        assert done is not None
        assert done[0].converged
        assert (await repo.plan()).empty


async def test_a_type_that_its_blocks_no_longer_fit_is_refused_whole(server, tmp_path):
    kind = "kind: BlockType\nslug: shop-db\nname: Shop DB\nblock_schema: {properties: {%s: {type: string}}}\n"
    async with repository(server, tmp_path) as repo:
        repo.write("type.yaml", kind % "a")
        text = "kind: Block\nblock_type_slug: shop-db\nname: main\ndata: {a: x}\n"
        repo.write("block.yaml", text)
        known = await applied(repo)
        repo.write("type.yaml", kind % "b")
        repo.api.calls.clear()
        assert await repo.touched(known) is None
        assert repo.api.writes() == []
        with pytest.raises(InvalidManifests):
            await repo.plan()


async def test_a_change_of_one_object_costs_eight_requests(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        variable = "kind: Variable\nname: v\nvalue: "
        repo.write("v.yaml", f"{variable}one\n")
        known = await applied(repo)
        # The first one learns the ids of our own block types. A lease that a busy server refused is
        # asked for again, which the others don't meet.
        for value in ("two", "three", "four", "five"):
            repo.write("v.yaml", f"{variable}{value}\n")
            repo.api.calls.clear()
            _, known = await repo.touched(known)
            if value != "two" and repo.api.calls.count("POST /block_documents/") == 1:
                break
        assert len(repo.api.calls) == 8, repo.api.calls
        with server.client() as client:
            [live] = seed.listing(client, "variables")
        assert live["value"] == value


async def test_somebody_who_deletes_our_block_types_costs_only_a_whole_look(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        variable = "kind: Variable\nname: v\nvalue: "
        repo.write("v.yaml", f"{variable}one\n")
        known = await applied(repo)
        with server.client() as client:
            type_ = seed.block_type(client, "reconciler-lease")
            seed.request(client, "DELETE", f"/block_types/{type_['id']}")
        repo.write("v.yaml", f"{variable}two\n")
        done = await repo.touched(known)
        assert done is not None
        assert done[0].converged
        assert (await repo.plan()).empty
