"""What changes behind git's back: shown with cause and place, healed or left, as git says."""

import pytest

from tests.e2e.site import HOURLY, actions, change, deployment, process

SCHEDULES = [{**HOURLY, "active": True}]


@pytest.fixture
def shop(site):
    site.write("blocks.yaml", process(env={"A": "1"}, stream_output=True))
    site.write("nightly.yaml", deployment(schedules=SCHEDULES, tags=["a"], description="mine"))
    site.write("hourly.yaml", deployment("hourly", schedules=SCHEDULES))
    return site


def disturb(site):
    """Change a field, block data and a schedule, and delete an object, all behind git's back."""
    site.patch_deployment("nightly", description="theirs")
    site.patch_block("process", "etl", env={"A": "2", "B": "3"}, stream_output=True)
    nightly = site.deployment("nightly")
    schedule = nightly["schedules"][0]["id"]
    site.patch(f"/deployments/{nightly['id']}/schedules/{schedule}", active=False)
    site.delete(f"/deployments/{site.deployment('hourly')['id']}")


def fields(found):
    return {field["path"]: (field["before"], field["after"]) for field in found["fields"]}


def assert_drift_is_told(plan):
    assert plan["summary"]["drift"] == 3
    nightly = change(plan, "deployment/etl/nightly")
    assert (nightly["action"], nightly["cause"]) == ("update", "drift")
    assert "changed in the API" in nightly["reason"]
    assert set(fields(nightly)) == {"description", "schedules"}
    assert fields(nightly)["description"] == ("theirs", "mine")
    before, after = fields(nightly)["schedules"]
    assert (before[0]["active"], after[0]["active"]) == (False, True)
    assert {field["cause"] for field in nightly["fields"]} == {"drift"}
    assert {field["source"].split(":")[0] for field in nightly["fields"]} == {"nightly.yaml"}

    block = change(plan, "block/process/etl")
    assert (block["action"], block["cause"]) == ("update", "drift")
    assert fields(block)["data.env.A"] == ("2", "1")
    assert fields(block)["data.env.B"] == ("3", None)

    hourly = change(plan, "deployment/etl/hourly")
    assert (hourly["action"], hourly["cause"]) == ("create", "drift")
    assert "deleted behind git's back" in hourly["reason"]
    assert hourly["source"] == "hourly.yaml:1:1"


def test_drift_is_told_with_cause_and_place_and_healed(shop):
    shop.apply()
    disturb(shop)
    drift = shop.drift()
    assert_drift_is_told(drift)
    assert shop.proxy.writes == []
    assert_drift_is_told(shop.plan("--detailed-exitcode", code=2))

    assert shop.apply()["converged"]
    assert shop.deployment("nightly")["description"] == "mine"
    assert shop.deployment("nightly")["schedules"][0]["active"] is True
    assert shop.runs("nightly")
    assert shop.block("process", "etl")["data"]["env"] == {"A": "1"}
    assert shop.runs("hourly")
    shop.settled()


def test_reported_drift_is_left_alone_and_shown_each_time(shop):
    shop.policy(drift="report")
    shop.apply()
    disturb(shop)
    for _ in range(2):
        report = shop.apply("--detailed-exitcode", code=2)
        assert shop.proxy.writes == []
        assert set(actions(report).values()) == {"blocked"}
        assert {c["outcome"] for c in report["changes"]} == {"held"}
        assert all("reported" in c["reason"] for c in report["changes"])
    assert shop.deployment("nightly")["description"] == "theirs"
    assert shop.deployment("nightly")["schedules"][0]["active"] is False
    assert shop.deployment("hourly") is None
    assert shop.block("process", "etl")["data"]["env"] == {"A": "2", "B": "3"}
    assert shop.drift()["summary"]["drift"] == 3

    # A write for another field keeps the live values that are only reported.
    documents = deployment(schedules=SCHEDULES, tags=["b"], description="mine")
    shop.write("nightly.yaml", documents)
    report = shop.apply()
    assert change(report, "deployment/etl/nightly")["outcome"] == "done"
    nightly = shop.deployment("nightly")
    assert (nightly["tags"], nightly["description"]) == (["b"], "theirs")
    assert nightly["schedules"][0]["active"] is False


def test_one_resource_can_report_while_the_rest_heals(shop):
    shop.write("nightly.yaml", deployment(description="mine", reconcile={"drift": "report"}))
    shop.apply()
    shop.patch_deployment("nightly", description="theirs")
    shop.patch_deployment("hourly", description="theirs", tags=["t"], paused=True)
    shop.patch_block("process", "etl", env={"A": "2"}, stream_output=True)
    report = shop.apply()
    assert actions(report) == {
        "deployment/etl/nightly": "blocked",
        "block/process/etl": "update",
    }
    assert shop.deployment("nightly")["description"] == "theirs"
    # What the manifest does not declare is nobody's drift.
    assert shop.deployment("hourly")["description"] == "theirs"


def test_drift_shows_only_what_changed_behind_gits_back(shop):
    shop.apply()
    shop.patch_deployment("nightly", description="theirs")
    shop.write("hourly.yaml", deployment("hourly", schedules=SCHEDULES, tags=["git"]))
    shop.write("nightly.yaml", deployment(schedules=SCHEDULES, tags=["git"], description="mine"))
    assert set(actions(shop.plan())) == {"deployment/etl/nightly", "deployment/etl/hourly"}
    (only,) = shop.drift("--detailed-exitcode", code=2)["changes"]
    assert only["key"] == "deployment/etl/nightly"
    assert set(fields(only)) == {"description"}


def test_what_git_and_the_api_both_changed_takes_gits_value(shop):
    shop.apply()
    shop.patch_deployment("nightly", description="theirs")
    shop.write("nightly.yaml", deployment(schedules=SCHEDULES, tags=["a"], description="new"))
    (found,) = shop.plan()["changes"]
    assert (found["cause"], fields(found)["description"]) == ("both", ("theirs", "new"))
    shop.apply()
    assert shop.deployment("nightly")["description"] == "new"
    shop.settled()


def test_ignored_fields_are_left_to_others(shop):
    shop.apply()
    shop.write(
        "nightly.yaml",
        deployment(
            schedules=SCHEDULES,
            tags=["a"],
            description="mine",
            reconcile={"ignore": ["description"]},
        ),
    )
    shop.patch_deployment("nightly", description="theirs")
    shop.apply()
    assert shop.deployment("nightly")["description"] == "theirs"
    shop.settled()
    shop.patch_deployment("nightly", description="theirs again", tags=["theirs"])
    (found,) = shop.plan()["changes"]
    assert set(fields(found)) == {"tags"}
    shop.apply()
    assert shop.deployment("nightly")["description"] == "theirs again"
    assert shop.deployment("nightly")["tags"] == ["a"]


def test_a_suspended_resource_is_left_alone_and_not_deleted(shop):
    shop.apply()
    shop.write("nightly.yaml", deployment(description="new", reconcile={"suspend": True}))
    before = shop.objects()
    shop.apply()
    shop.settled()
    shop.patch_deployment("nightly", description="theirs")
    shop.settled()
    assert shop.objects().keys() == before.keys()
    shop.remove("nightly.yaml")
    report = shop.apply()
    found = change(report, "deployment/etl/nightly")
    assert (found["action"], found["wanted"], found["outcome"]) == ("blocked", "delete", "held")
    assert "suspended" in found["reason"]
    assert shop.deployment("nightly")["description"] == "theirs"

    shop.write("nightly.yaml", deployment(description="new"))
    assert shop.apply()["converged"]
    assert shop.deployment("nightly")["description"] == "new"
    shop.settled()


def test_a_field_healed_three_times_is_left_alone_until_git_changes_it(shop):
    shop.apply()
    for number in range(3):
        shop.patch_deployment("nightly", description=f"theirs {number}")
        assert actions(shop.apply()) == {"deployment/etl/nightly": "update"}
    shop.patch_deployment("nightly", description="theirs for good")
    (found,) = shop.apply("--detailed-exitcode", code=2)["changes"]
    assert (found["action"], found["outcome"]) == ("blocked", "held")
    assert "description" in {field["path"] for field in found["fields"] if field.get("held")}
    assert shop.deployment("nightly")["description"] == "theirs for good"
    shop.write("nightly.yaml", deployment(schedules=SCHEDULES, tags=["a"], description="new"))
    assert shop.apply()["converged"]
    assert shop.deployment("nightly")["description"] == "new"


def test_drift_tells_when_it_was_first_seen_in_each_format(shop):
    shop.policy(drift="report")
    shop.apply()
    shop.patch_deployment("nightly", description="theirs")
    first = _first_seen(shop)
    assert _first_seen(shop) == first  # kept in mind between runs
    for form in ("text", "markdown", "html"):
        assert "first seen 20" in shop.run("drift", "--format", form).stdout
    shop.patch_deployment("nightly", description="mine")
    assert shop.drift()["changes"] == []
    shop.patch_deployment("nightly", description="theirs")
    assert _first_seen(shop) > first


def _first_seen(shop):
    (only,) = shop.drift()["changes"]
    return only["fields"][0]["first_seen"]
