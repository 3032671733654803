"""The engine with the real kinds on both servers: plan, apply, plan again; drift; deletes; crashes."""

import json

import pytest

from reconciler.controller import pipeline
from reconciler.model.keys import Key
from reconciler.model.plan import Action, Cause
from reconciler.model.report import Result
from reconciler.model.wishes import Wishes
from tests.integration.reconciling import release, repository
from tests.testbed import seed
from tests.testbed.thorough import places

pytestmark = [pytest.mark.anyio, pytest.mark.prefect]

BLOCKS = """
kind: Block
block_type_slug: docker-registry
name: private
data: {username: u, password: "${{ secrets.PASSWORD }}", registry_url: "https://example.org"}
---
kind: Block
block_type_slug: docker-container
name: etl
data:
  image: prefecthq/prefect:3-latest
  env: {A: "1", TOKEN: "${{ secrets.PASSWORD }}"}
  image_registry: {$ref: docker-registry/private}
"""
NIGHTLY = """
kind: Deployment
flow_name: etl
name: nightly
entrypoint: flows/etl.py:etl
infrastructure: docker-container/etl
schedules: [{cron: "0 3 * * *", timezone: Europe/London}, {interval: 3600}]
parameters: {limit: 10}
tags: [prod]
"""
INLINE = """
kind: Deployment
flow_name: etl
name: inline
entrypoint: flows/etl.py:etl
infrastructure: {type: process, env: {B: "2"}}
"""
CANARY = "canary-5f2d9c"
NIGHTLY_KEY = Key.of("deployment", "etl", "nightly")


def fill(repo):
    repo.secrets = {"RECONCILER_SECRET_PASSWORD": CANARY}
    repo.write("blocks.yaml", BLOCKS)
    repo.write("nightly.yaml", NIGHTLY)
    repo.write("inline.yaml", INLINE)


def by_key(plan):
    return {str(change.key): change for change in plan.changes}


async def settled(repo):
    """The next plan is empty and writes nothing."""
    repo.api.writes()
    report = await repo.apply()
    assert report.plan.empty, report.plan.to_json()
    assert repo.api.writes() == []


async def test_plan_apply_plan_and_the_last_one_is_empty(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        fill(repo)
        report = await repo.apply()
        assert report.converged, report.to_json()
        assert report.plan.count(Action.CREATE) == 5
        await settled(repo)


async def test_one_changed_field_is_one_write_and_one_shard(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        fill(repo)
        await repo.apply()
        repo.write("nightly.yaml", NIGHTLY.replace("[prod]", "[prod, more]"))
        repo.api.writes()
        report = await repo.apply()
        assert report.converged, report.to_json()
        # One write, the refill of its schedule, one shard (what the write takes away is noted
        # before, what it did after), and the lease.
        writes = repo.api.writes()
        patched = [w for w in writes if w.startswith("PATCH")]
        assert len([w for w in patched if "/deployments/" in w]) == 1
        assert len(patched) == 3
        assert len(set(patched)) == 2
        assert sorted({w.split("/")[0] + w.split("/")[1] for w in writes}) == [
            "DELETE block_documents",
            "PATCH block_documents",
            "PATCH deployments",
            "POST block_documents",
            "POST deployments",
        ]
        await settled(repo)


async def test_drift_is_seen_with_its_cause_and_healed(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        fill(repo)
        await repo.apply()
        with server.client() as client:
            nightly = seed.find_deployment(client, "nightly")
            seed.request(client, "PATCH", f"/deployments/{nightly['id']}", {"description": "hand"})
            documents = seed.listing(client, "block_documents")
            etl = next(d for d in documents if d["name"] == "etl")
            data = {"image": "other", "env": {"A": "1", "TOKEN": "stolen"}}
            body = {"data": data, "merge_existing_data": False}
            seed.request(client, "PATCH", f"/block_documents/{etl['id']}", body)
        plan = await repo.plan()
        change = by_key(plan)["block/docker-container/etl"]
        assert change.cause is Cause.DRIFT
        fields = {f.path: (f.before, f.after) for f in change.fields}
        assert fields["data.image"] == ("other", "prefecthq/prefect:3-latest")
        assert fields["data.env.TOKEN"] == ("<secret>", "<secret, changed>")
        assert "deployment/etl/nightly" not in by_key(plan)  # git does not declare a description
        assert "stolen" not in json.dumps(plan.to_json())
        assert (await repo.apply()).converged
        await settled(repo)


async def test_a_deleted_object_comes_back(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        fill(repo)
        await repo.apply()
        with server.client() as client:
            nightly = seed.find_deployment(client, "nightly")
            seed.request(client, "DELETE", f"/deployments/{nightly['id']}")
        plan = await repo.plan()
        assert [(str(c.key), c.action, c.cause) for c in plan.changes] == [
            ("deployment/etl/nightly", Action.CREATE, Cause.DRIFT)
        ]
        assert (await repo.apply()).converged
        await settled(repo)


async def test_of_many_new_deployments_one_that_somebody_made_meanwhile_is_left_alone(
    server, tmp_path
):
    """Names are looked up for several at a time: also one of the same name in another flow is no clash."""
    async with repository(server, tmp_path) as repo:
        plain = "kind: Deployment\nflow_name: {}\nname: {}\ntags: [ours]\n---\n"
        repo.write("a.yaml", "".join(plain.format("etl", f"d{n}") for n in range(30)))
        repo.write("b.yaml", plain.format("other", "twin"))
        with server.client() as client:
            seed.deployment(client, "twin")
            seed.deployment(client, "d7", flow_name="other")
            planned = await repo.planned()
            theirs = seed.deployment(client, "d7", tags=["theirs"])
            repo.api.calls.clear()
            report = await pipeline.carry_out(repo.desk(), planned, Wishes())
            looks = [call for call in repo.api.calls if call.startswith("GET /deployments/name/")]
            failed = [o for o in report.outcomes if o.result is not Result.DONE]
            assert [str(o.change.key) for o in failed] == ["deployment/etl/d7"], failed
            assert "somebody else" in failed[0].error
            there = seed.request(client, "GET", f"/deployments/{theirs['id']}")
        assert there["tags"] == ["theirs"]
        needed = {"GET /deployments/name/etl/d7", "GET /deployments/name/other/twin"}
        assert needed <= set(looks)
        assert len(looks) < 8, "a busy server that answers 503 makes us look, too, but not for each"


async def test_a_removed_file_takes_its_objects_along_and_nothing_else(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        fill(repo)
        await repo.apply()
        repo.remove("inline.yaml")
        report = await repo.apply()
        assert report.converged, report.to_json()
        assert report.plan.count(Action.DELETE) == 2
        with server.client() as client:
            assert [d["name"] for d in seed.listing(client, "deployments")] == ["nightly"]
        await settled(repo)


async def test_a_block_with_run_history_is_held_with_counts(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        fill(repo)
        await repo.apply()
        with server.client() as client:
            inline = seed.find_deployment(client, "inline")
            run = seed.request(client, "POST", f"/deployments/{inline['id']}/create_flow_run", {})
            seed.set_state(client, run["id"], "COMPLETED")
        repo.remove("inline.yaml")
        plan = await repo.plan()
        held = [c for c in plan.changes if c.action is Action.BLOCKED]
        assert [c.key.kind for c in held] == ["block"]
        assert "1 flow run" in held[0].reason
        assert "--allow-cascade" in held[0].reason
        report = await repo.apply()
        assert not [o for o in report.outcomes if o.error], report.to_json()
        report = await repo.apply(allow_cascade=("block/*",))
        assert report.converged, report.to_json()
        await settled(repo)


async def test_no_secret_is_in_any_record_or_report(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        fill(repo)
        report = await repo.apply()
        repo.secrets = {"RECONCILER_SECRET_PASSWORD": f"{CANARY}-new"}
        again = await repo.apply()
        assert {c.cause for c in again.plan.changes} == {Cause.SECRET}
        assert again.converged
        with server.client() as client:
            body = {
                "include_secrets": True,
                "block_types": {"slug": {"any_": ["reconciler-inventory", "reconciler-lease"]}},
            }
            records = json.dumps(seed.listing(client, "block_documents", **body))
        for text in (json.dumps(report.to_json()), json.dumps(again.to_json()), records):
            assert CANARY not in text
        assert CANARY not in repr(again)


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False], ids=["unsent", "unanswered"])
async def test_killed_at_any_call_the_next_apply_converges(server, tmp_path, before):
    async with repository(server, tmp_path) as repo:
        deaths = 0
        for number in places(200, server.major, before, part=11):
            repo.secrets = {"RECONCILER_SECRET_PASSWORD": CANARY}
            repo.write("blocks.yaml", BLOCKS.replace('"1"', f'"{number}"'))
            repo.write(f"inline{number}.yaml", INLINE.replace("name: inline", f"name: i{number}"))
            if not await repo.killed_at(number, before=before):
                break
            deaths += 1
            with server.client() as client:
                release(client)
            report = await repo.apply()
            assert report.converged, report.to_json()
            await settled(repo)
            with server.client() as client:
                found = {d["id"] for d in seed.listing(client, "deployments")}
            entries = await repo.entries()
            assert found == {e.id for e in entries.values() if e.key.kind == "deployment"}
            repo.remove(f"inline{number}.yaml")
        assert deaths > 2
