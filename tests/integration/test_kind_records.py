"""The kinds of plain records on both servers: each one created, in step, changed, drifted, deleted."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from reconciler.errors import InvalidManifests
from reconciler.model.keys import Key
from reconciler.model.plan import Action, Cause
from tests.integration.reconciling import repository
from tests.testbed import seed

pytestmark = [pytest.mark.anyio, pytest.mark.prefect]


@dataclass(frozen=True)
class Case:
    """One kind of object.

    Attributes:
        key: of the resource.
        names: of the document.
        first: fields as they are declared at first.
        then: fields that change.
        at: where the API has it.
        drift: a PATCH behind git's back, and the field that it moves.
        api: names of fields in the API where they differ.
    """

    key: str
    names: dict[str, str]
    first: dict[str, Any]
    then: dict[str, Any]
    at: str
    drift: tuple[str, dict[str, Any], str]
    api: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self):
        prefix = self.key.split("/")[0]
        return "".join(word.capitalize() for word in prefix.split("-"))

    def document(self, fields):
        return yaml.safe_dump({"kind": self.kind, **self.names, **fields})

    def api_fields(self, fields):
        return {self.api.get(name, name): value for name, value in fields.items()}


TEMPLATE = {
    "job_configuration": {"command": "{{ command }}", "env": {"A": "{{ env }}"}},
    "variables": {
        "type": "object",
        "properties": {"command": {"type": "string"}, "env": {"type": "string", "default": "x"}},
    },
}
CASES = [
    Case(
        "flow/etl",
        {"name": "etl"},
        {"tags": ["shop", "night"]},
        {"tags": ["day"]},
        "/flows/name/etl",
        ("PATCH /flows/{id}", {"tags": ["theirs"]}, "tags"),
    ),
    Case(
        "variable/region",
        {"name": "region"},
        {"value": "eu", "tags": ["shop", "prod"]},
        {"value": "us", "tags": []},
        "/variables/name/region",
        ("PATCH /variables/{id}", {"value": "theirs"}, "value"),
    ),
    Case(
        "concurrency-limit/global:db",
        {"name": "db"},
        {"limit": 3, "active": True, "slot_decay_per_second": 0.5},
        {"limit": 0, "active": False, "slot_decay_per_second": 0.0},
        "/v2/concurrency_limits/db",
        ("PATCH /v2/concurrency_limits/{id}", {"limit": 99}, "limit"),
    ),
    Case(
        "concurrency-limit/tag:slow",
        {"tag": "slow"},
        {"limit": 2},
        {"limit": 7},
        "/concurrency_limits/tag/slow",
        ("POST /concurrency_limits/", {"tag": "slow", "concurrency_limit": 99}, "limit"),
        {"limit": "concurrency_limit"},
    ),
    Case(
        "work-pool/shop pool",
        {"name": "shop pool"},
        {
            "type": "docker",
            "description": "ours",
            "base_job_template": TEMPLATE,
            "is_paused": True,
            "concurrency_limit": 4,
        },
        {
            "description": None,
            "base_job_template": {},
            "is_paused": False,
            "concurrency_limit": None,
        },
        "/work_pools/shop%20pool",
        ("PATCH /work_pools/shop%20pool", {"concurrency_limit": 99}, "concurrency_limit"),
    ),
    Case(
        "work-queue/shop/high",
        {"work_pool_name": "shop", "name": "high"},
        {"priority": 1, "concurrency_limit": 2, "is_paused": True, "description": "first"},
        {"concurrency_limit": None, "is_paused": False, "description": "later"},
        "/work_pools/shop/queues/high",
        ("PATCH /work_pools/shop/queues/high", {"concurrency_limit": 99}, "concurrency_limit"),
    ),
]


@pytest.fixture(params=CASES, ids=lambda case: case.key)
def case(request):
    return request.param


@pytest.fixture
def client(server):
    with server.client() as made:
        seed.request(made, "POST", "/work_pools/", {"name": "shop", "type": "prefect-agent"})
        yield made


@pytest.fixture
async def repo(server, client, tmp_path):
    async with repository(server, tmp_path) as made:
        made.write("reconciler.yaml", "name: prod\nprune: {max_share: 100%}\n")
        made.write(
            "keep.yaml",
            Case("variable/kept", {"name": "kept"}, {}, {}, "", ("", {}, "")).document(
                {"value": "1"}
            ),
        )
        yield made


def live(client, case):
    answer = client.get(case.at)
    return None if answer.status_code == 404 else answer.json()


async def applied(repo):
    report = await repo.apply()
    assert report.converged, [(str(o.change.key), o.error, o.remaining) for o in report.outcomes]
    assert (await repo.plan()).empty
    return report


async def test_an_object_goes_through_its_whole_life(repo, client, case):
    repo.write("one.yaml", case.document(case.first))
    plan = await repo.plan()
    change = {str(c.key): c for c in plan.changes}[case.key]
    assert (change.action, change.cause) == (Action.CREATE, Cause.NEW)
    await applied(repo)
    made = live(client, case)
    assert case.api_fields(case.first).items() <= made.items()

    fixed = {k: v for k, v in case.first.items() if k not in case.then}
    repo.write("one.yaml", case.document(fixed | case.then))
    [change] = (await repo.plan()).changes
    assert (change.action, change.cause) == (Action.UPDATE, Cause.GIT)
    await applied(repo)
    now = live(client, case)
    assert case.api_fields(case.then).items() <= now.items()
    assert now["id"] == made["id"]

    how, body, name = case.drift
    method, _, path = how.format(id=made["id"]).partition(" ")
    seed.request(client, method, path, body)
    [change] = (await repo.plan()).changes
    assert (change.action, change.cause) == (Action.UPDATE, Cause.DRIFT)
    assert [one.path for one in change.fields] == [name]
    await applied(repo)
    assert case.api_fields(case.then).items() <= live(client, case).items()

    repo.remove("one.yaml")
    [change] = (await repo.plan(allow_deletes=5)).changes
    assert change.action is Action.DELETE
    assert (await repo.apply(allow_deletes=5)).converged
    assert live(client, case) is None
    assert (await repo.plan()).empty


async def test_a_field_that_git_no_longer_declares_returns_to_its_default(repo, client, case):
    repo.write("one.yaml", case.document(case.first))
    await applied(repo)
    required = {k: v for k, v in case.first.items() if k in {"value", "limit", "type"}}
    repo.write("one.yaml", case.document(required))
    report = await applied(repo)
    found = live(client, case)
    defaults = {
        "tags": [],
        "active": True,
        "slot_decay_per_second": 0.0,
        "description": None if case.kind == "WorkPool" else "",
        "base_job_template": {},
        "concurrency_limit": None,
    }
    for name in case.first.keys() - required.keys():
        if name in {"is_paused", "priority"}:
            assert found[name] == case.first[name], "released: left as it is"
        else:
            assert found[name] == defaults[name], name
    assert len(report.outcomes) == (1 if case.first != required else 0)


async def test_an_object_that_is_there_is_adopted_if_equal_and_held_if_not(repo, client, case):
    repo.write("one.yaml", case.document(case.first))
    await applied(repo)
    before = live(client, case)["id"]
    _forget_all(client)
    plan = await repo.plan()
    assert {c.action for c in plan.changes} == {Action.ADOPT}
    await applied(repo)
    assert live(client, case)["id"] == before

    _forget_all(client)
    how, body, _ = case.drift
    method, _, path = how.format(id=before).partition(" ")
    seed.request(client, method, path, body)
    [change] = [c for c in (await repo.plan()).changes if str(c.key) == case.key]
    assert change.action is Action.BLOCKED


def _forget_all(client):
    for one in seed.listing(client, "block_documents"):
        if one["block_type"]["slug"] == "reconciler-inventory":
            seed.request(client, "DELETE", f"/block_documents/{one['id']}")


# -- what only one kind does -----------------------------------------------------------------------


async def test_a_pool_its_queues_and_what_runs_there_come_in_order(repo, client):
    documents = [
        {
            "kind": "Deployment",
            "flow_name": "etl",
            "name": "nightly",
            "entrypoint": "f.py:f",
            "work_pool_name": "own",
            "work_queue_name": "fast",
        },
        {"kind": "WorkQueue", "work_pool_name": "own", "name": "fast", "priority": 1},
        {"kind": "WorkQueue", "work_pool_name": "own", "name": "default", "concurrency_limit": 3},
        {"kind": "WorkPool", "name": "own", "type": "prefect-agent"},
    ]
    repo.write("all.yaml", yaml.safe_dump_all(documents))
    plan = await repo.plan()
    order = [str(key) for level in plan.levels for key in level if "kept" not in str(key)]
    assert order[0] == "work-pool/own"
    assert order[-1] == "deployment/etl/nightly"
    await applied(repo)
    found = seed.request(client, "GET", "/work_pools/own/queues/default")
    assert found["concurrency_limit"] == 3

    repo.remove("all.yaml")
    plan = await repo.plan(allow_deletes=9)
    changes = {str(c.key): c for c in plan.changes}
    assert all(c.action is Action.DELETE for c in plan.changes), plan.changes
    assert list(changes) == sorted(changes)
    order = [str(key) for level in plan.levels for key in level]
    assert order.index("deployment/etl/nightly") < order.index("work-queue/own/fast")
    assert order.index("work-queue/own/fast") < order.index("work-pool/own")
    report = await repo.apply(allow_deletes=9)
    assert report.converged, [(str(o.change.key), o.result, o.error) for o in report.outcomes]
    assert client.get("/work_pools/own").status_code == 404


async def test_a_pool_that_others_use_is_not_taken_from_them(repo, client):
    repo.write("pool.yaml", yaml.safe_dump({"kind": "WorkPool", "name": "own", "type": "process"}))
    await applied(repo)
    seed.request(client, "POST", "/work_pools/own/queues", {"name": "theirs"})
    seed.deployment(client, "theirs", work_pool_name="own", work_queue_name="theirs")
    repo.remove("pool.yaml")
    [change] = (await repo.plan(allow_deletes=9)).changes
    assert change.action is Action.BLOCKED
    said = " ".join((change.reason, *change.effects))
    assert "strands deployment/etl/theirs" in said
    assert "work-queue/own/theirs" in said
    assert "--allow-cascade" in said
    assert (await repo.apply(allow_deletes=9, allow_cascade=("work-pool/own",))).converged
    assert client.get("/work_pools/own").status_code == 404


async def test_the_type_of_a_pool_cannot_be_changed(repo):
    for type_ in ("process", "docker"):
        document = {"kind": "WorkPool", "name": "own", "type": type_}
        repo.write("pool.yaml", yaml.safe_dump(document))
        if type_ == "process":
            await applied(repo)
    [change] = (await repo.plan()).changes
    assert change.action is Action.BLOCKED
    assert "type can't be changed" in change.reason


async def test_a_flow_is_not_deleted_with_its_deployments_and_history_unless_that_is_allowed(
    repo, client
):
    documents = [
        {"kind": "Deployment", "flow_name": "etl", "name": "nightly", "entrypoint": "f.py:f"},
        {"kind": "Flow", "name": "etl", "tags": ["shop"]},
    ]
    repo.write("all.yaml", yaml.safe_dump_all(documents))
    levels = [str(key) for level in (await repo.plan()).levels for key in level]
    assert levels.index("flow/etl") < levels.index("deployment/etl/nightly")
    await applied(repo)
    assert seed.request(client, "GET", "/flows/name/etl")["tags"] == ["shop"]
    found = seed.find_deployment(client, "nightly")
    run = seed.flow_run(client, found["id"])["id"]
    seed.set_state(client, run, "COMPLETED")

    repo.write("all.yaml", yaml.safe_dump(documents[0]))
    [change] = (await repo.plan()).changes
    assert change.action is Action.BLOCKED
    said = " ".join((change.reason, *change.effects))
    assert "deletes deployment/etl/nightly" in said
    assert "history of 1 flow run" in said


async def test_priorities_of_queues_come_out_as_declared(repo, client):
    names = ["a", "b", "c", "default"]
    documents = [
        {"kind": "WorkQueue", "work_pool_name": "own", "name": name, "priority": number}
        for number, name in enumerate(reversed(names), 1)
    ]
    documents.append({"kind": "WorkPool", "name": "own", "type": "prefect-agent"})
    repo.write("all.yaml", yaml.safe_dump_all(documents))
    for _ in range(4):
        report = await repo.apply()
        if report.converged:
            break
    assert (await repo.plan()).empty
    found = seed.request(client, "POST", "/work_pools/own/queues/filter", {})
    assert sorted(found, key=lambda one: one["priority"]) == sorted(
        found, key=lambda one: names[::-1].index(one["name"])
    )


async def test_what_a_server_cannot_hold_is_said_with_its_place(repo, server):
    document = {"kind": "Variable", "name": "a-b", "value": {"k": [1]}}
    repo.write("one.yaml", yaml.safe_dump(document))
    if server.major == 3:
        await applied(repo)
        return
    with pytest.raises(InvalidManifests) as error:
        await repo.plan()
    text = "\n".join(map(str, error.value.problems))
    assert "one.yaml:2:1" in text
    assert "takes no dashes" in text
    assert "holds text only" in text


async def test_limits_that_prefect_makes_itself_are_nobodys(repo, server, client):
    if server.major == 2:
        return
    seed.deployment(client, "limited", concurrency_limit=2)
    seed.request(client, "POST", "/concurrency_limits/", {"tag": "slow", "concurrency_limit": 2})
    repo.write("one.yaml", yaml.safe_dump({"kind": "ConcurrencyLimit", "name": "db", "limit": 1}))
    await applied(repo)
    planned = await repo.planned()
    keys = {key for key in planned.observed.live if key.kind == "concurrency-limit"}
    assert keys == {
        Key.of("concurrency-limit", "global:db"),
        Key.of("concurrency-limit", "tag:slow"),
    }
