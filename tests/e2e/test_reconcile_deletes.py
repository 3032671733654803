"""Deletes need proof: what goes with a file, what is held back, and how a hold is lifted."""

import pytest

from tests.e2e.site import HOURLY, actions, change, deployment, process
from tests.testbed import seed
from tests.testbed.fault import Fault, Rule


@pytest.fixture
def shop(site):
    site.write("base.yaml", process())
    site.write("etl.yaml", deployment(schedules=[HOURLY]), deployment("hourly"))
    site.write("spare.yaml", process("spare"))
    return site


def strangers(site):
    """Objects that no manifest ever named, next to ours: same flow, same type, an anonymous block."""
    with site.server.client() as client:
        block = site.block("process", "etl")
        hidden = {
            "data": {},
            "block_type_id": block["block_type_id"],
            "block_schema_id": block["block_schema_id"],
            "is_anonymous": True,
        }
        made = [
            seed.block(client, "process", "by-hand", {}),
            seed.deployment(client, "by-hand", infrastructure_document_id=block["id"]),
            seed.request(client, "POST", "/block_documents/", hidden),
        ]
    return {item["id"] for item in made}


def test_removing_a_file_deletes_what_it_declared_and_nothing_else(shop):
    shop.apply()
    foreign = strangers(shop)
    before = shop.objects()
    doomed = {shop.deployment(name)["id"] for name in ("nightly", "hourly")}
    shop.remove("etl.yaml")

    plan = shop.plan("--detailed-exitcode", code=2)
    assert actions(plan) == {"deployment/etl/hourly": "delete", "deployment/etl/nightly": "delete"}
    found = change(plan, "deployment/etl/nightly")
    assert (found["cause"], found["source"].split(":")[0]) == ("removed", "etl.yaml")

    assert shop.apply()["converged"]
    assert sorted(shop.written) == sorted(f"DELETE /deployments/{id_}" for id_ in doomed)
    after = shop.objects()
    assert before.keys() - after.keys() == doomed
    assert {id_ for id_ in after if after[id_] != before[id_]} == set()
    assert foreign <= after.keys()
    assert shop.owned() == ["block/process/etl", "block/process/spare"]
    shop.settled()


def test_with_a_broken_file_elsewhere_nothing_of_the_revision_is_applied(shop):
    shop.apply()
    before = shop.objects(), shop.records()
    shop.remove("etl.yaml")
    shop.write("spare.yaml", process("spare", env={"A": "1"}))
    shop.write("new.yaml", process("new"))
    shop.write("broken.yaml", {**process("x"), "dta": {}}, "kind: Block\nname: [\n")
    for command in (["plan"], ["apply", "--yes"], ["drift"], ["validate"]):
        done = shop.run(*command)
        assert (done.code, shop.proxy.writes) == (1, []), done
        assert "broken.yaml:" in done.output
    assert (shop.objects(), shop.records()) == before


def test_with_a_failing_list_page_nothing_is_deleted(shop):
    shop.apply()
    before = shop.objects()
    shop.remove("etl.yaml")
    shop.remove("spare.yaml")
    impatient = {"RECONCILER_API_DEADLINE_SECONDS": "5"}
    shop.proxy.add(Rule(Fault.BUSY, path="/deployments/filter"))
    for _ in range(2):
        report = shop.apply("--detailed-exitcode", code=2, env=impatient)
        assert set(actions(report)) == {
            "deployment/etl/nightly",
            "deployment/etl/hourly",
            "block/process/spare",
        }
        for found in report["changes"]:
            assert (found["action"], found["wanted"]) == ("blocked", "delete")
            # What hangs on a block is asked for by the same listing: no proof, no delete.
            why = "could not be confirmed" if "block" in found["key"] else "is not complete"
            assert why in found["reason"]
            assert "the next run asks again" in found["reason"]
        assert any("not read: deployment" in notice for notice in report["notices"])
        assert shop.proxy.writes == []
    assert shop.objects() == before

    shop.proxy.heal()
    assert set(actions(shop.apply()).values()) == {"delete"}
    shop.settled()


@pytest.mark.parametrize("server", ["3.x"], indirect=True)  # 200 objects take their time
def test_with_a_failing_second_page_nothing_is_deleted(shop):
    with shop.server.client() as client:
        flow = seed.flow(client, "crowd")
        for number in range(200):
            body = {"name": f"n{number}", "flow_id": flow}
            seed.request(client, "POST", "/deployments/", body)
    shop.apply()
    shop.write("etl.yaml", deployment(schedules=[HOURLY]))
    listing = "/deployments/filter"
    shop.proxy.add(Rule(Fault.NONE, path=listing, nth=1), Rule(Fault.BUSY, path=listing))
    (found,) = shop.apply(env={"RECONCILER_API_DEADLINE_SECONDS": "8"})["changes"]
    first, *others = [seen for seen in shop.proxy.requests if listing in seen.path]
    assert (first.status, first.fault) == (200, None)
    assert others
    assert (found["action"], found["outcome"]) == ("blocked", "held")
    assert "is not complete" in found["reason"]
    shop.proxy.heal()
    assert actions(shop.apply()) == {"deployment/etl/hourly": "delete"}
    assert len(shop.objects()) == 200 + 1 + 2


def test_an_empty_tree_deletes_nothing_until_allowed(shop):
    shop.apply()
    before = shop.objects()
    for file in ("base.yaml", "etl.yaml", "spare.yaml"):
        shop.remove(file)
    report = shop.apply("--detailed-exitcode", code=2)
    assert set(actions(report).values()) == {"blocked"}
    assert shop.proxy.writes == []
    assert shop.objects() == before
    (notice,) = report["notices"]
    assert "nothing at all would be left" in notice
    assert "`--allow-deletes 4` allows it" in notice

    text = shop.run("plan")
    assert "--allow-deletes 4" in text.stdout
    assert set(actions(shop.apply("--allow-deletes", "4")).values()) == {"delete"}
    assert shop.objects() == {}
    assert shop.owned() == []
    shop.settled()


def test_a_file_that_gives_nothing_any_more_deletes_nothing(shop):
    shop.apply()
    shop.write("spare.yaml", "# commented out\n")
    report = shop.apply("--detailed-exitcode", code=2)
    (found,) = report["changes"]
    assert (found["action"], found["outcome"]) == ("blocked", "held")
    assert "spare.yaml gave objects and gives none now" in found["reason"]
    assert "`--allow-deletes 1` allows it" in found["reason"]
    shop.apply("--allow-deletes", "1")
    assert shop.block("process", "spare") is None


def test_a_share_above_the_limit_deletes_nothing_until_allowed(shop):
    many = [process(f"b{number:02}") for number in range(12)]
    shop.write("many.yaml", *many)
    shop.apply()
    before = shop.objects()
    shop.remove("many.yaml")
    shop.write("fresh.yaml", process("fresh"))
    report = shop.apply("--detailed-exitcode", code=2)
    assert report["summary"]["blocked"] == 12
    (notice,) = report["notices"]
    assert "12 of 16 objects would go, more than 10 and more than 30%" in notice
    assert "`--allow-deletes 12` allows it" in notice
    assert before.keys() < shop.objects().keys()  # a hold blocks nothing else
    assert shop.block("process", "fresh")

    # Allowed for less is not allowed; by the policy for good it is.
    assert shop.plan("--allow-deletes", "11")["summary"]["blocked"] == 12
    shop.policy(prune={"max_deletes": 12})
    assert shop.apply()["summary"]["delete"] == 12
    shop.settled()


def test_pruning_can_be_off(shop):
    shop.policy(prune={"enabled": False})
    shop.apply()
    shop.remove("spare.yaml")
    (found,) = shop.apply("--detailed-exitcode", code=2)["changes"]
    assert found["action"] == "blocked"
    assert "prune: {enabled: true}" in found["reason"]
    assert shop.block("process", "spare")


def test_prune_false_is_remembered_when_its_file_is_gone(shop):
    shop.write("spare.yaml", {**process("spare"), "reconcile": {"prune": False}})
    shop.apply()
    shop.remove("spare.yaml")
    for _ in range(2):
        (found,) = shop.apply("--detailed-exitcode", code=2)["changes"]
        assert (found["action"], found["wanted"]) == ("blocked", "delete")
        assert "prune: false" in found["reason"]
        assert "reconciler forget block/process/spare" in found["reason"]
        assert shop.proxy.writes == []
    assert shop.block("process", "spare")


def test_deleting_a_block_with_flow_run_history_is_held_with_counts(shop):
    shop.apply()
    block = shop.block("process", "etl")
    with shop.server.client() as client:
        other = seed.deployment(client, "by-hand", infrastructure_document_id=block["id"])
        runs = [seed.flow_run(client, other["id"])["id"] for _ in range(3)]
        for run in runs[:2]:
            seed.set_state(client, run, "COMPLETED")
        seed.set_state(client, runs[2], "FAILED")
    shop.remove("etl.yaml")
    shop.remove("base.yaml")
    report = shop.apply("--detailed-exitcode", code=2)
    assert actions(report) == {
        "block/process/etl": "blocked",
        "deployment/etl/hourly": "delete",
        "deployment/etl/nightly": "delete",
    }
    reason = change(report, "block/process/etl")["reason"]
    assert "3 flow run" in reason
    assert "deployment/etl/by-hand" in reason
    assert "`--allow-cascade block/process/etl`" in reason
    with shop.server.client() as client:
        assert {seed.state_of(client, run) for run in runs} == {"COMPLETED", "FAILED"}

    report = shop.apply("--allow-cascade", "block/process/etl")
    assert change(report, "block/process/etl")["outcome"] == "done"
    assert shop.block("process", "etl") is None
    assert shop.deployment("by-hand") is None
    shop.settled()


def test_the_policy_can_allow_a_cascade(shop):
    shop.apply()
    with shop.server.client() as client:
        spare = shop.block("process", "spare")
        seed.deployment(client, "by-hand", infrastructure_document_id=spare["id"])
    shop.remove("spare.yaml")
    assert actions(shop.plan()) == {"block/process/spare": "blocked"}
    shop.policy(prune={"allow": ["block/process/sp*"]})
    assert actions(shop.apply()) == {"block/process/spare": "delete"}
    assert shop.deployment("by-hand") is None


def test_a_deployment_with_active_runs_goes_when_they_have_ended(shop):
    shop.apply()
    with shop.server.client() as client:
        run = seed.flow_run(client, shop.deployment("hourly")["id"])["id"]
        seed.set_state(client, run, "RUNNING")
    shop.write("etl.yaml", deployment(schedules=[HOURLY]))
    (found,) = shop.apply("--detailed-exitcode", code=2)["changes"]
    assert found["action"] == "blocked"
    assert "1 flow run(s) are active" in found["reason"]
    assert shop.deployment("hourly")
    with shop.server.client() as client:
        seed.set_state(client, run, "COMPLETED")
    assert actions(shop.apply()) == {"deployment/etl/hourly": "delete"}
    assert shop.deployment("hourly") is None
