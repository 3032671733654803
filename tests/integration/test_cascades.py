"""What a delete would take along is counted, on real servers, and holds it: for every kind."""

from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from reconciler.kinds import KINDS
from reconciler.model.plan import Action
from tests.integration.reconciling import repository
from tests.testbed import seed

pytestmark = [pytest.mark.anyio, pytest.mark.prefect]

SCHEMA = {"properties": {"host": {"type": "string"}}}


@dataclass(frozen=True)
class Case:
    """A resource that others use.

    Attributes:
        document: declares it.
        uses: fields by which a deployment hangs on it.
        said: what holds the delete, each with its count or its name.
        stays: what others declare, and what must still be there: a path of the API.
        around: documents that stay declared.
    """

    document: dict[str, Any]
    uses: dict[str, Any]
    said: tuple[str, ...]
    stays: str
    around: tuple[dict[str, Any], ...] = ()


POOL = {"kind": "WorkPool", "name": "own", "type": "prefect-agent"}
CASES = {
    "Block": Case(
        {"kind": "Block", "block_type_slug": "process", "name": "own"},
        {"infrastructure_document_id": "block"},
        (
            "deletes deployment/theirs/one",
            "deletes deployment/theirs/two",
            "deletes the history of 3 flow runs;",
        ),
        "/block_types/slug/process/block_documents/name/own",
    ),
    "BlockType": Case(
        {"kind": "BlockType", "slug": "own", "name": "Own", "block_schema": SCHEMA},
        {"storage_document_id": "block"},
        (
            "deletes block/own/theirs",
            "deletes deployment/theirs/one",
            "deletes deployment/theirs/two",
        ),
        "/block_types/slug/own",
    ),
    "WorkPool": Case(
        POOL,
        {"work_pool_name": "own", "work_queue_name": "theirs"},
        (
            "work-queue/own/theirs",
            "strands deployment/theirs/one",
            "strands deployment/theirs/two",
        ),
        "/work_pools/own",
    ),
    "WorkQueue": Case(
        {"kind": "WorkQueue", "work_pool_name": "own", "name": "night"},
        {"work_pool_name": "own", "work_queue_name": "night"},
        ("strands deployment/theirs/one", "strands deployment/theirs/two"),
        "/work_pools/own/queues/night",
        (POOL,),
    ),
    "Flow": Case(
        {"kind": "Flow", "name": "theirs"},
        {},
        (
            "deletes deployment/theirs/one",
            "deletes deployment/theirs/two",
            "deletes the history of 3 flow runs;",
        ),
        "/flows/name/theirs",
    ),
}
ALONE = {
    "Variable": {"kind": "Variable", "name": "own", "value": "v"},
    "ConcurrencyLimit": {"kind": "ConcurrencyLimit", "name": "own", "limit": 1},
    "Deployment": {
        "kind": "Deployment",
        "flow_name": "theirs",
        "name": "own",
        "entrypoint": "f.py:f",
    },
    "Automation": {
        "kind": "Automation",
        "name": "own",
        "trigger": {"posture": "Reactive"},
        "actions": [{"type": "do-nothing"}],
    },
}


def test_every_kind_is_in_one_of_the_tables():
    assert {*CASES, *ALONE} == {kind.name for kind in KINDS}
    assert not CASES.keys() & ALONE.keys()


@pytest.fixture
async def repo(automating, tmp_path):
    async with repository(automating, tmp_path) as made:
        # An empty tree deletes nothing, so something stays.
        made.write("kept.yaml", yaml.safe_dump({"kind": "Variable", "name": "kept", "value": "v"}))
        made.write("reconciler.yaml", "name: prod\nprune: {max_deletes: 50, max_share: 100%}\n")
        yield made


@pytest.fixture
def client(automating):
    with automating.client() as made:
        yield made


async def applied(repo):
    report = await repo.apply()
    assert report.converged, [(str(o.change.key), o.error, o.remaining) for o in report.outcomes]


def hang_on(client, case):
    """Hang two deployments of somebody else on it; one of them has had three runs."""
    fields = {name: _id(client, case, value) for name, value in case.uses.items()}
    for name in ("one", "two"):
        seed.deployment(client, name, flow_name="theirs", entrypoint="f.py:f", **fields)
    found = seed.find_deployment(client, "one", "theirs")["id"]
    for number in range(3):
        run = seed.flow_run(client, found)["id"]
        seed.set_state(client, run, "COMPLETED" if number else "FAILED")


def _id(client, case, value):
    if value != "block":
        return value
    if case.document["kind"] == "Block":
        return seed.request(client, "GET", case.stays)["id"]
    type_ = seed.request(client, "GET", case.stays)["id"]
    wanted = {"block_schemas": {"block_type_id": {"any_": [type_]}}}
    [schema] = seed.request(client, "POST", "/block_schemas/filter", wanted)
    body = {"name": "theirs", "data": {}, "block_type_id": type_, "block_schema_id": schema["id"]}
    return seed.request(client, "POST", "/block_documents/", body)["id"]


@pytest.mark.parametrize("kind", CASES)
async def test_a_delete_that_takes_others_along_is_held_with_their_names_and_counts(
    repo, client, kind
):
    case = CASES[kind]
    repo.write("around.yaml", yaml.safe_dump_all(case.around))
    repo.write("own.yaml", yaml.safe_dump(case.document))
    await applied(repo)
    if kind == "WorkPool":
        seed.request(client, "POST", "/work_pools/own/queues", {"name": "theirs"})
    hang_on(client, case)
    repo.remove("own.yaml")
    [change] = (await repo.plan()).changes
    assert change.action is Action.BLOCKED
    assert f"--allow-cascade {change.key}" in change.reason
    for one in case.said:
        assert one in change.reason, change.reason
    await repo.apply()
    assert client.get(case.stays).status_code == 200
    assert len(seed.listing(client, "deployments")) == 2
    report = await repo.apply(allow_cascade=(str(change.key),))
    assert report.converged, [(str(o.change.key), o.error) for o in report.outcomes]
    assert client.get(case.stays).status_code == 404


@pytest.mark.parametrize("kind", ALONE)
async def test_what_takes_nobody_along_is_deleted_without_being_asked(repo, client, kind):
    repo.write("own.yaml", yaml.safe_dump(ALONE[kind]))
    await applied(repo)
    seed.deployment(client, "one", flow_name="theirs", entrypoint="f.py:f")
    repo.remove("own.yaml")
    [change] = (await repo.plan()).changes
    assert change.action is Action.DELETE
    assert (await repo.apply()).converged
    assert (await repo.plan()).empty
    assert [one["name"] for one in seed.listing(client, "deployments")] == ["one"]
