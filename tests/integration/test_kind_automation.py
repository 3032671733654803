"""The kind Automation on real servers: whole life, references, both versions."""

import pytest
import yaml

from reconciler.controller.export import Choice, export
from reconciler.errors import InvalidManifests
from reconciler.model.plan import Action, Cause
from tests.integration.reconciling import repository
from tests.testbed import seed

pytestmark = [pytest.mark.anyio, pytest.mark.prefect]

EVENT = {
    "posture": "Reactive",
    "expect": ["prefect.flow-run.Failed", "prefect.flow-run.Crashed"],
    "match_related": {"prefect.resource.name": "etl"},
    "threshold": 3,
    "within": 60,
}
AUTOMATION = {
    "kind": "Automation",
    "name": "pause it",
    "description": "Pauses what fails.",
    "trigger": EVENT,
    "actions": [{"type": "pause-deployment", "source": "selected", "deployment": "etl/nightly"}],
}
DEPLOYMENT = {"kind": "Deployment", "flow_name": "etl", "name": "nightly", "entrypoint": "f.py:f"}


@pytest.fixture
async def repo(automating, tmp_path):
    async with repository(automating, tmp_path) as made:
        made.write("reconciler.yaml", "name: prod\nprune: {max_share: 100%}\n")
        made.write("deployment.yaml", yaml.safe_dump(DEPLOYMENT))
        yield made


@pytest.fixture
def client(automating):
    with automating.client() as made:
        yield made


def put(repo, **changes):
    repo.write("automation.yaml", yaml.safe_dump({**AUTOMATION, **changes}))


async def applied(repo):
    report = await repo.apply()
    assert report.converged, [(str(o.change.key), o.error, o.remaining) for o in report.outcomes]
    assert (await repo.plan()).empty
    return report


def named(client, name="pause it"):
    found = seed.request(client, "POST", "/automations/filter", {})
    return [one for one in found if one["name"] == name]


async def test_an_automation_goes_through_its_whole_life(repo, client):
    put(repo)
    levels = [str(key) for level in (await repo.plan()).levels for key in level]
    assert levels == ["deployment/etl/nightly", "automation/pause it"]
    await applied(repo)
    [made] = named(client)
    deployment = seed.find_deployment(client, "nightly")
    assert made["actions"][0]["deployment_id"] == deployment["id"]
    assert made["trigger"]["threshold"] == 3

    put(repo, trigger={**EVENT, "threshold": 5}, actions_on_resolve=[{"type": "do-nothing"}])
    [change] = (await repo.plan()).changes
    assert (change.action, change.cause) == (Action.UPDATE, Cause.GIT)
    assert {f.path for f in change.fields} == {"trigger.threshold", "actions_on_resolve"}
    await applied(repo)
    [now] = named(client)
    assert (now["id"], now["trigger"]["threshold"]) == (made["id"], 5)
    assert now["description"] == "Pauses what fails."

    seed.request(client, "PATCH", f"/automations/{made['id']}", {"enabled": False})
    assert (await repo.plan()).empty, "it is not declared, so nobody minds"
    put(repo, enabled=True)
    await applied(repo)
    assert named(client)[0]["enabled"]
    body = {k: v for k, v in now.items() if k not in {"id", "created", "updated"}}
    seed.request(client, "PUT", f"/automations/{made['id']}", {**body, "description": "theirs"})
    [change] = (await repo.plan()).changes
    assert change.cause in {Cause.DRIFT, Cause.BOTH}
    await applied(repo)

    repo.remove("automation.yaml")
    assert (await repo.apply(allow_deletes=5)).converged
    assert named(client) == []


async def test_compound_and_proactive_triggers_settle(repo, client):
    inner = [
        {"posture": "Reactive", "expect": ["a"]},
        {"type": "event", "posture": "Proactive", "expect": ["b"], "after": ["c"]},
    ]
    put(repo, trigger={"type": "compound", "require": "all", "within": 30, "triggers": inner})
    await applied(repo)
    put(repo, trigger={"type": "sequence", "within": 30, "triggers": inner})
    await applied(repo)
    assert named(client)[0]["trigger"]["type"] == "sequence"


RUN = {"type": "run-deployment", "source": "selected", "deployment": "etl/nightly"}
LAST = {"type": "change-flow-run-state", "state": "CANCELLED", "message": "enough"}


async def test_actions_settle_with_and_without_their_defaults(repo, client):
    put(repo, actions=[RUN, {"type": "pause-automation", "source": "inferred"}, LAST])
    await applied(repo)
    put(repo, actions=[{**RUN, "parameters": {"a": 1}, "job_variables": {"env": {"B": "2"}}}])
    await applied(repo)
    [made] = named(client)
    assert made["actions"][0]["parameters"] == {"a": 1}
    other = {**AUTOMATION, "name": "another", "actions": [{"type": "do-nothing"}]}
    repo.write("other.yaml", yaml.safe_dump(other))
    put(repo, actions=[{"type": "resume-automation", "automation": "another"}])
    await applied(repo)
    [made], [target] = named(client), named(client, "another")
    assert made["actions"][0]["automation_id"] == target["id"]
    tree = await export(repo.desk(), Choice(keys=("automation/pause it",)))
    [text] = tree.files.values()
    assert yaml.safe_load(text)["actions"] == [
        {"type": "resume-automation", "automation": "another"}
    ]


async def test_what_only_3_knows_of_an_action_is_named_on_2_20(repo, automating):
    put(repo, actions=[{**RUN, "schedule_after": 30}])
    if automating.major == 3:
        await applied(repo)
        return
    with pytest.raises(InvalidManifests) as caught:
        await repo.plan()
    [problem] = caught.value.problems
    assert "Prefect 2.20.26 can't hold schedule_after of the action run-deployment" in str(problem)


async def test_a_deployments_trigger_lives_and_dies_with_it(repo, client):
    trigger = {"expect": ["order.paid"], "parameters": {"a": 1}}
    repo.write("deployment.yaml", yaml.safe_dump({**DEPLOYMENT, "triggers": [trigger]}))
    await applied(repo)
    [made] = named(client, "nightly__automation_1")
    deployment = seed.find_deployment(client, "nightly")
    assert made["actions"][0]["deployment_id"] == deployment["id"]
    body = {k: v for k, v in made.items() if k not in {"id", "created", "updated"}}
    body["trigger"] = {**body["trigger"], "threshold": 7}
    seed.request(client, "PUT", f"/automations/{made['id']}", body)
    [change] = (await repo.plan()).changes
    assert [f.path for f in change.fields] == ["trigger.threshold"]
    repo.write(
        "deployment.yaml", yaml.safe_dump({**DEPLOYMENT, "triggers": [{**trigger, "threshold": 2}]})
    )
    await applied(repo)
    assert [one["id"] for one in named(client, "nightly__automation_1")] == [made["id"]]
    repo.write("deployment.yaml", yaml.safe_dump(DEPLOYMENT))
    assert (await repo.apply(allow_deletes=5)).converged
    assert named(client, "nightly__automation_1") == []
    assert seed.find_deployment(client, "nightly")["id"] == deployment["id"]


async def test_of_several_with_one_name_the_oldest_counts(repo, client):
    put(repo)
    await applied(repo)
    [made] = named(client)
    body = {k: v for k, v in made.items() if k not in {"id", "created", "updated"}}
    seed.request(client, "POST", "/automations/", {**body, "description": "a second one"})
    assert (await repo.plan()).empty


async def test_an_export_has_names_in_place_of_ids(repo, client):
    put(repo)
    await applied(repo)
    tree = await export(repo.desk(), Choice(kinds=("Automation",)))
    [text] = tree.files.values()
    made = yaml.safe_load(text)
    assert made["actions"] == [{"type": "pause-deployment", "deployment": "etl/nightly"}]
    repo.write("automation.yaml", text)
    assert (await repo.plan()).empty


async def test_a_server_without_automations_is_named(prefect2, tmp_path):
    async with repository(prefect2, tmp_path) as repo:
        put(repo)
        with pytest.raises(InvalidManifests) as caught:
            await repo.plan()
        said = "\n".join(map(str, caught.value.problems))
        assert "automation.yaml:1:1: Prefect 2.20.26 has no automations" in said
        assert "PREFECT_EXPERIMENTAL_EVENTS" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trigger": {"expect": ["a"]}}, "needs a posture"),
        ({"trigger": {"type": "metric"}}, "a trigger is one of"),
        ({"trigger": {"type": "compound"}}, "needs triggers, a list"),
        ({"trigger": {**EVENT, "expct": []}}, "an event trigger has no key 'expct'"),
        ({"trigger": {"type": "compound", "triggers": [EVENT]}}, "needs require"),
        ({"actions": [{"type": "do-nothing", "source": "x"}]}, "action has no key 'source'"),
        ({"actions": []}, "at least 1 item"),
        ({"actions": ["x"]}, "must be a mapping"),
        ({"actions": [{"source": "x"}]}, "an action is a mapping with a type"),
        ({"actions": [{"type": "x", "deployment_id": "y"}]}, "is of one server only"),
        ({"actions": [{"type": "x", "deployment": "y"}]}, "deployment must name a deployment"),
    ],
)
async def test_what_is_wrong_shows_offline(repo, changes, said):
    put(repo, **changes)
    with pytest.raises(InvalidManifests) as caught:
        await repo.plan()
    assert any(said in str(one) for one in caught.value.problems), caught.value.problems
