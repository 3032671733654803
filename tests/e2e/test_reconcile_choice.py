"""What a reconciliation is about: adoption, targets, environments, other inventories."""

from tests.e2e.site import actions, change, deployment, process
from tests.testbed import seed


def live_already(site, **fields):
    """Make the objects of `declare` by hand, as Prefect's own client would."""
    site.write("a.yaml", process("other"))  # from here on the server knows all types: 3.x
    site.apply()  # has no `process`, and nobody has our inventory's
    with site.server.client() as client:
        block = seed.block(client, "process", "etl", {"env": {"A": "1"}})
        path = {"entrypoint": "flows/etl.py:etl", "path": "/srv/flows"}
        seed.deployment(client, infrastructure_document_id=block["id"], **path, **fields)


def declare(site, **fields):
    site.write("a.yaml", process("other"))
    site.write("b.yaml", process(env={"A": "1"}), deployment(**fields))


def test_equal_live_objects_are_adopted_quietly(site):
    live_already(site, tags=["a"], description="not declared")
    before = site.objects()
    declare(site, tags=["a"])
    plan = site.plan("--target", "*etl*")
    assert actions(plan) == {"block/process/etl": "adopt", "deployment/etl/nightly": "adopt"}
    assert all(found["fields"] == [] for found in plan["changes"])

    site.apply("--target", "*etl*")
    assert site.written == []
    assert {id_: site.objects()[id_] for id_ in before} == before
    assert {"block/process/etl", "deployment/etl/nightly"} <= set(site.owned())
    assert site.deployment("nightly")["description"] == "not declared"
    site.apply()
    site.settled()


def test_different_live_objects_are_blocked_until_adopted(site):
    live_already(site, tags=["theirs"])
    declare(site, tags=["mine"])
    report = site.apply("--detailed-exitcode", code=2)
    found = change(report, "deployment/etl/nightly")
    assert (found["action"], found["wanted"], found["outcome"]) == ("blocked", "adopt", "held")
    assert [(f["path"], f["before"], f["after"]) for f in found["fields"]] == [
        ("tags", ["theirs"], ["mine"])
    ]
    assert "`--adopt deployment/etl/nightly`" in found["reason"]
    assert "adopt: true" in found["reason"]
    assert site.deployment("nightly")["tags"] == ["theirs"]
    # A hold blocks nothing else, and one that is held is not ours to delete.
    assert "block/process/etl" in site.owned()
    assert "deployment/etl/nightly" not in site.owned()

    report = site.apply("--adopt", "deployment/etl/nightly")
    assert change(report, "deployment/etl/nightly")["action"] == "adopt"
    assert site.deployment("nightly")["tags"] == ["mine"]
    site.settled()


def test_a_manifest_can_allow_its_own_adoption(site):
    live_already(site, tags=["theirs"])
    declare(site, tags=["mine"], reconcile={"adopt": True})
    assert change(site.apply(), "deployment/etl/nightly")["outcome"] == "done"
    assert site.deployment("nightly")["tags"] == ["mine"]
    site.settled()


def test_what_another_inventory_owns_is_a_conflict_and_no_target(site):
    declare(site, tags=["a"])
    site.apply()
    site.policy(name="rival")
    declare(site, tags=["b"])
    report = site.apply("--adopt", "*", "--detailed-exitcode", code=2)
    assert set(actions(report).values()) == {"blocked"}
    assert all("the inventory shop owns it" in found["reason"] for found in report["changes"])
    assert site.proxy.writes == []
    assert site.deployment("nightly")["tags"] == ["a"]


def test_a_target_takes_along_what_it_refers_to_and_nothing_else(site):
    site.write("a.yaml", process(), deployment(), deployment("hourly"))
    site.write("b.yaml", process("spare"))
    assert set(actions(site.apply("--target", "deployment/*/nightly"))) == {
        "block/process/etl",
        "deployment/etl/nightly",
    }
    assert site.deployment("hourly") is None
    site.apply()

    site.write("a.yaml", process(), deployment(tags=["new"]), deployment("hourly", tags=["new"]))
    site.remove("b.yaml")
    two = ("--target", "deployment/etl/hourly", "--target", "block/process/etl")
    assert actions(site.plan(*two)) == {"deployment/etl/hourly": "update"}
    site.apply(*two)
    assert site.deployment("hourly")["tags"] == ["new"]
    assert site.deployment("nightly")["tags"] == []
    assert site.block("process", "spare")  # its delete was no target
    assert actions(site.plan("--target", "block/*")) == {"block/process/spare": "delete"}


def test_an_environment_has_variables_patches_and_an_inventory_of_its_own(site):
    site.policy(
        vars={"region": "eu"},
        environments={
            "dev": {
                "vars": {"region": "eu-dev"},
                "patches": [
                    {"target": {"kind": "Deployment"}, "patch": {"paused": True}},
                    {"target": {"key": "block/process/*"}, "patch": {"data": {"env": {"B": "2"}}}},
                ],
            }
        },
    )
    site.write(
        "a.yaml", process(env={"REGION": "${{ vars.region }}", "A": "1"}), deployment(paused=False)
    )
    usual, dev = site.plan(), site.plan("--env", "dev")
    assert (usual["inventory"], dev["inventory"]) == ("shop", "shop.dev")
    assert usual["environment"] == ""
    assert dev["environment"] == "dev"

    site.apply("--env", "dev")
    assert site.block("process", "etl")["data"]["env"] == {"REGION": "eu-dev", "A": "1", "B": "2"}
    assert site.deployment("nightly")["paused"] is True
    assert site.plan("--env", "dev")["changes"] == []
    # The other environment does not take them for its own.
    assert set(actions(site.plan()).values()) == {"blocked"}

    wrong = site.run("plan", "--env", "dve")
    assert wrong.code == 1
    assert "dev" in wrong.stderr.split("dve", 1)[1]


def test_several_environments_are_planned_in_one_go(site):
    site.policy(
        environments={"a": {"vars": {"x": "1"}}, "b": {"vars": {"x": "2"}}}, vars={"x": "0"}
    )
    site.write("blocks.yaml", process(env={"X": "${{ vars.x }}"}))
    plans = site.run("plan", "--env", "a", "--env", "b", "--env", "a", "--format", "json").json()
    assert [plan["environment"] for plan in plans] == ["a", "b"]
    values = [plan["changes"][0]["fields"][0]["after"] for plan in plans]
    assert values == ["1", "2"]
    text = site.run("plan", "--env", "a", "--env", "b").stdout
    assert "(a) on" in text
    assert "(b) on" in text
    saved = site.run("plan", "--env", "a", "--env", "b", "--out", "plan.json")
    assert saved.code == 64
