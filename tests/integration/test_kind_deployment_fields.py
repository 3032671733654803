"""Each field of a deployment on both server versions: created, changed by one write, taken back."""

import pytest

from reconciler.errors import AlreadyExists, NotFound
from reconciler.model.keys import Key
from reconciler.model.values import Ref, Secret
from tests.integration.deployments import (
    KEY,
    KIND,
    create,
    declare,
    differing,
    document,
    others,
    session_with,
    update,
)
from tests.testbed import seed

pytestmark = pytest.mark.anyio

JINJA = {"__prefect_kind": "jinja", "template": "{{ 1 + 1 }}"}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "title": "P"}

BOTH = {
    "description": ("says hello", "says *bye*\n"),
    "version": ("1", "2"),
    "tags": (["b", "a", "b"], ["a"]),
    "parameters": ({"n": 1, "deep": {"a": [1, None]}}, {"n": 2.5}),
    "paused": (True, False),
    "path": ("/opt/a", "$STORAGE_BASE_PATH/b"),
    "entrypoint": ("flows/etl.py:etl", "package.module.flow"),
    "infrastructure": ("process/one", "process/two"),
    "storage": ("local-file-system/one", "local-file-system/two"),
    "pull_steps": ([{"a.step": {"directory": "x"}}], [{"b.step": {"id": "y"}}]),
    "job_variables": ({"env.LOG_LEVEL": "DEBUG", "image": "a"}, {"env": {"B": None}}),
    "work_queue_name": ("first", "second"),
    "work_pool_name": ("pool-one", "pool-two"),
    "parameter_openapi_schema": (SCHEMA, {**SCHEMA, "required": ["n"]}),
    "enforce_parameter_schema": (True, False),
}
ONLY_2 = {"manifest_path": ("a.json", "b.json")}
ONLY_3 = {
    "concurrency_limit": (3, 4),
    "concurrency_options": (
        {"collision_strategy": "ENQUEUE"},
        {"collision_strategy": "CANCEL_NEW", "grace_period_seconds": 90},
    ),
    "labels": ({"team": "a", "size": 1.5}, {"team": "b", "on": True}),
}
CASES = [(name, *values) for name, values in {**BOTH, **ONLY_2, **ONLY_3}.items()] + [
    ("parameters", {"n": JINJA}, {"n": {**JINJA, "template": "{{ 2 }}"}}),
    ("parameters", {"n": 1}, {"n": JINJA}),
    ("job_variables", {"a": 1}, {}),
    ("parameters", {"a": 1}, {}),
    ("tags", ["a"], []),
]
FULL = {
    "description": "whole",
    "version": "9",
    "tags": ["t"],
    "parameters": {"n": 7, "late": JINJA},
    "schedules": [{"cron": "0 3 * * *", "active": False}],
    "path": "/p",
    "entrypoint": "f.py:g",
    "infrastructure": "process/one",
    "storage": "local-file-system/one",
    "job_variables": {"env.A": "b"},
    "work_queue_name": "queue",
    "parameter_openapi_schema": SCHEMA,
    "enforce_parameter_schema": False,
}


def _known(server, name):
    return name not in (ONLY_3 if server.major == 2 else ONLY_2)


def _seed(server, session):
    """Make the blocks and pools that the table refers to."""
    with server.client() as client:
        for slug in ("process", "local-file-system"):
            if client.get(f"/block_types/slug/{slug}").status_code == 404:
                seed.custom_block_type(client, slug)
            for name in ("one", "two"):
                made = seed.block(client, slug, name, {})
                session.index.add(Key.of("block", slug, name), made["id"])
        for name in ("pool-one", "pool-two"):
            seed.request(client, "POST", "/work_pools/", {"name": name, "type": "process"})


@pytest.mark.parametrize(("name", "first", "second"), CASES)
async def test_a_field_is_created_changed_by_one_write_and_taken_back(server, name, first, second):
    if not _known(server, name):
        return
    async with session_with(server) as session:
        _seed(server, session)
        start = {**FULL, name: first}
        if server.major == 3:
            start = {"labels": {"a": "b"}, "concurrency_limit": 2, **start}
        live = await create(session, **start)
        declared = await declare(session, **start)
        assert differing(declared.fields, live) == {}

        declared = await declare(session, **{**start, name: second})
        changes = differing(declared.fields, live)
        assert list(changes) == [name]
        changed, writes = await update(session, live, changes)
        assert len(writes) == 1
        assert differing(declared.fields, changed) == {}
        touched = {name, "work_queue_name"} if name == "work_pool_name" else {name}
        assert others(changed, touched) == others(live, touched)

        rule = KIND.rules(session.facts).fields[name]
        back, _ = await update(session, changed, {name: rule.default})
        assert back.fields[name] == rule.default
        assert others(back, touched) == others(live, touched)


@pytest.mark.parametrize("name", [*ONLY_2, *ONLY_3])
async def test_a_field_that_the_version_lacks_is_a_problem_naming_it(server, name):
    value = {**ONLY_2, **ONLY_3}[name][0]
    async with session_with(server) as session:
        parsed = KIND.parse(document(**{name: value}))
        _, problems = await KIND.conform(parsed.declarations[0], session)
    if _known(server, name):
        assert problems == ()
    else:
        assert [p.message for p in problems] == [f"Prefect {server.version} can't hold {name}"]


async def test_everything_at_once_reads_back_equal(server):
    async with session_with(server) as session:
        _seed(server, session)
        table = {**BOTH, **(ONLY_2 if server.major == 2 else ONLY_3)}
        whole = {name: values[0] for name, values in table.items()}
        whole["parameters"] = {"n": 1}
        live = await create(session, **whole)
        declared = await declare(session, **whole)
        assert differing(declared.fields, live) == {}
        assert live.fields["infrastructure"] == Ref(Key.of("block", "process", "one"))


async def test_nothing_declared_means_a_queue_that_is_served(server):
    async with session_with(server) as session:
        live = await create(session)
        assert live.fields["work_queue_name"] == "default"
        assert live.fields["work_pool_name"] == "default-agent-pool"
        assert differing((await declare(session)).fields, live) == {}
        rules = KIND.rules(session.facts).fields
        assert {n: r.default for n, r in rules.items()} == dict(live.fields)


async def test_a_create_leaves_a_deployment_alone_that_is_there(server):
    async with session_with(server) as session:
        live = await create(session, tags=["theirs"])
        declared = await declare(session, tags=["ours"])
        with pytest.raises(AlreadyExists):
            await KIND.create(session, KEY, declared.fields)
        assert (await KIND.read(session, KEY, live.id)).fields["tags"] == ["theirs"]


async def test_a_secret_parameter_arrives_and_is_compared_by_fingerprint(server):
    async with session_with(server) as session:
        live = await create(session, parameters={"token": Secret("s3cret", "t")})
        assert live.fields["parameters"] == {"token": "s3cret"}
        declared = await declare(session, parameters={"token": Secret("s3cret", "t")})
        assert differing(declared.fields, live) == {}


async def test_every_deployment_is_listed_with_its_flow(server):
    with server.client() as client:
        for flow in ("one", "two"):
            for name in ("a", "b"):
                seed.deployment(client, name, flow_name=flow)
    async with session_with(server) as session:
        keys = {str(live.key) async for live in KIND.listing(session)}
        assert keys == {f"deployment/{f}/{n}" for f in ("one", "two") for n in ("a", "b")}


async def test_names_with_blanks_dots_and_letters_of_the_world_are_found(server):
    async with session_with(server) as session:
        key = Key.of("deployment", "täglich um 3?", "a.b #1")
        declared = await declare(session)
        written = await KIND.create(session, key, declared.fields)
        found = await KIND.find(session, key)
        assert found is not None
        assert found.id == written.id
        assert await KIND.find(session, Key.of("deployment", "x", "y")) is None


async def test_a_delete_counts_active_runs_first_and_may_be_repeated(server):
    async with session_with(server) as session:
        live = await create(session)
        with server.client() as client:
            for state in ("PENDING", "RUNNING", "COMPLETED"):
                run = seed.flow_run(client, live.id)
                seed.set_state(client, run["id"], state)
        evidence = await KIND.evidence(session, KEY, live.id)
        assert (evidence.present, evidence.active_runs) == (True, 2)
        await KIND.delete(session, live)
        await KIND.delete(session, live)
        assert not (await KIND.evidence(session, KEY, live.id)).present
        assert await KIND.read(session, KEY, live.id) is None


async def test_a_limit_of_its_own_leaves_a_shared_one_as_it_is(prefect3):
    async with session_with(prefect3) as session:
        live = await create(session)
        with prefect3.client() as client:
            shared = seed.request(
                client, "POST", "/v2/concurrency_limits/", {"name": "shared", "limit": 7}
            )
            body = {"global_concurrency_limit_id": shared["id"]}
            seed.request(client, "PATCH", f"/deployments/{live.id}", body)
            for wanted in (5, None):
                seed.request(client, "PATCH", f"/deployments/{live.id}", body)
                live = await KIND.read(session, KEY, live.id)
                assert live.fields["concurrency_limit"] is None
                changed, _ = await update(session, live, {"concurrency_limit": wanted})
                assert changed.fields["concurrency_limit"] == wanted
                found = seed.request(client, "GET", f"/v2/concurrency_limits/{shared['id']}")
                assert found["limit"] == 7
                seed.request(
                    client, "PATCH", f"/deployments/{live.id}", {"concurrency_limit": None}
                )


async def test_a_deployment_that_enforces_a_missing_schema_can_still_be_changed(server):
    async with session_with(server) as session:
        with server.client() as client:
            made = seed.deployment(
                client, parameter_openapi_schema=None, enforce_parameter_schema=True
            )
        live = await KIND.read(session, KEY, made["id"])
        changed, writes = await update(session, live, {"description": "new"})
        assert (changed.fields["description"], len(writes)) == ("new", 1)


async def test_a_work_pool_that_is_not_there_is_named(server):
    async with session_with(server) as session:
        live = await create(session)
        with pytest.raises(NotFound, match="there is no work pool gone"):
            await KIND.update(session, live, {"work_pool_name": "gone"})
        assert await KIND.read(session, KEY, live.id) == live


async def test_a_queue_of_the_name_in_another_pool_is_not_taken(server):
    """Without the agent pool, servers give a deployment the first queue of the name (tried)."""
    with server.client() as client:
        seed.request(client, "POST", "/work_pools/", {"name": "other", "type": "process"})
    async with session_with(server) as session:
        live = await create(session)
        assert live.fields["work_pool_name"] == "default-agent-pool"
