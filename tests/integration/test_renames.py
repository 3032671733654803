"""Renames by `previous_name`: the object stays the same one where the API allows it."""

import pytest

from reconciler.model.keys import Key
from reconciler.model.plan import Action, Cause
from tests.integration.reconciling import release, repository
from tests.testbed import seed
from tests.testbed.thorough import places

pytestmark = [pytest.mark.anyio, pytest.mark.prefect, pytest.mark.timeout(300)]

POOL = "kind: WorkPool\nname: batch\ntype: process\n"
# What the API can rename: the document around its name, and its key.
RENAMED = {
    "variable": ("kind: Variable\nname: {}\nvalue: '{more}'\n", "variable/{}"),
    "global limit": (
        "kind: ConcurrencyLimit\nname: {}\nlimit: {more}\n",
        "concurrency-limit/global:{}",
    ),
    "queue": (
        "kind: WorkQueue\nwork_pool_name: batch\nname: {}\npriority: {more}\n",
        "work-queue/batch/{}",
    ),
    "automation": (
        """kind: Automation
name: {}
description: about {more}
trigger: {{posture: Reactive, expect: [prefect.flow-run.Failed], threshold: 3, within: 60}}
actions: [{{type: do-nothing}}]
""",
        "automation/{}",
    ),
}


def document(what, name, more=1, previous=None):
    text = RENAMED[what][0].format(name, more=more)
    return text + (f"reconcile: {{previous_name: {previous}}}\n" if previous else "")


def key(what, name):
    return Key.parse(RENAMED[what][1].format(name))


async def begun(repo, what):
    repo.write("pool.yaml", POOL)
    repo.write("one.yaml", document(what, "old"))
    assert (await repo.apply()).converged
    return (await repo.entries())[key(what, "old")].id


def by_hand(server, id_, name):
    with server.client() as client:
        seed.request(client, "PATCH", f"/variables/{id_}", {"name": name})


@pytest.mark.parametrize("what", list(RENAMED))
async def test_a_renamed_object_keeps_its_id_and_is_nothing_new(automating, what, tmp_path):
    async with repository(automating, tmp_path) as repo:
        id_ = await begun(repo, what)
        repo.write("one.yaml", document(what, "new", more=2, previous="old"))
        report = await repo.apply()
        assert report.converged, report.to_json()
        [one] = report.outcomes
        assert (one.change.key, one.change.action) == (key(what, "new"), Action.UPDATE)
        name, *fields = one.change.fields
        assert (name.path, name.before, name.after, name.cause) == (
            "name",
            key(what, "old").name,
            key(what, "new").name,
            Cause.GIT,
        )
        assert len(fields) == 1
        entries = await repo.entries()
        assert entries[key(what, "new")].id == id_
        assert key(what, "old") not in entries
        assert (await repo.plan()).empty
        repo.write("one.yaml", document(what, "new", more=2))
        assert (await repo.plan()).empty, "previous_name may go afterwards"
        repo.remove("one.yaml")
        assert [c.action for c in (await repo.plan()).changes] == [Action.DELETE]


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False], ids=["unsent", "unanswered"])
@pytest.mark.parametrize("what", list(RENAMED))
async def test_a_rename_killed_at_any_call_leaves_one_object(automating, what, tmp_path, before):
    async with repository(automating, tmp_path) as repo:
        id_ = await begun(repo, what)
        name = "old"
        for number in places(100, automating.major, what, before):
            previous, name = name, f"new{number}"
            repo.write("one.yaml", document(what, name, more=number % 9 + 1, previous=previous))
            if not await repo.killed_at(number, before=before):
                break
            with automating.client() as client:
                release(client)
            report = await repo.apply()
            assert report.converged, (number, report.to_json())
            assert {c.action for c in report.plan.changes} <= {Action.UPDATE}, report.to_json()
            entries = await repo.entries()
            assert {k: e.id for k, e in entries.items() if k.kind == key(what, name).kind} == {
                key(what, name): id_
            }
        assert number > 8


@pytest.mark.parametrize("gone", ["previous_name", "document"])
async def test_what_an_interrupted_rename_left_in_the_inventory_deletes_nothing_else(
    server, tmp_path, gone
):
    """The object has two entries between the two writes, whatever git says afterwards."""
    async with repository(server, tmp_path) as repo:
        id_ = await begun(repo, "variable")
        repo.write("one.yaml", document("variable", "new", previous="old"))
        for number in range(1, 100):  # the last write that takes the old entry out
            await repo.killed_at(number, before=True)
            with server.client() as client:
                release(client)
            if {key("variable", name) for name in ("old", "new")} <= (await repo.entries()).keys():
                break
        else:
            raise AssertionError("there is no moment between the two writes")
        if gone == "document":
            repo.remove("one.yaml")
        else:
            repo.write("one.yaml", document("variable", "new"))
        report = await repo.apply(allow_deletes=1)
        assert report.converged, report.to_json()
        with server.client() as client:
            left = {one["name"]: one["id"] for one in seed.listing(client, "variables")}
        assert left == ({} if gone == "document" else {"new": id_})
        assert (await repo.plan()).empty


async def test_what_bears_its_new_name_already_is_kept_and_owned_by_it(server, tmp_path):
    """Renamed by hand and then in git; or by an apply that died, before git took back its word."""
    async with repository(server, tmp_path) as repo:
        id_ = await begun(repo, "variable")
        by_hand(server, id_, "new")
        repo.write("one.yaml", document("variable", "new", more=2))
        report = await repo.apply()
        assert report.converged, report.to_json()
        with server.client() as client:
            assert [one["id"] for one in seed.listing(client, "variables")] == [id_]
        assert (await repo.entries())[key("variable", "new")].id == id_
        assert (await repo.plan()).empty


async def test_a_delete_is_of_what_is_owned_not_of_what_bears_its_name(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        id_ = await begun(repo, "variable")
        by_hand(server, id_, "by_hand")
        with server.client() as client:
            seed.request(client, "POST", "/variables/", {"name": "old", "value": "theirs"})
        repo.remove("one.yaml")
        assert (await repo.apply(allow_deletes=1)).converged
        with server.client() as client:
            assert [one["value"] for one in seed.listing(client, "variables")] == ["theirs"]


async def test_a_name_that_is_still_declared_renames_nothing(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        await begun(repo, "variable")
        repo.write("two.yaml", document("variable", "new", previous="old"))
        plan = await repo.plan()
        assert [(c.key.name, c.action) for c in plan.changes] == [("new", Action.CREATE)]
        assert any("variable/old is still declared" in notice for notice in plan.notices)


async def test_a_name_that_is_taken_is_not_overwritten(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        await begun(repo, "variable")
        with server.client() as client:
            seed.request(client, "POST", "/variables/", {"name": "new", "value": "theirs"})
        repo.write("one.yaml", document("variable", "new", previous="old"))
        plan = await repo.plan()
        assert {c.key.name: c.action for c in plan.changes} == {
            "new": Action.BLOCKED,
            "old": Action.DELETE,
        }


async def test_the_plan_says_what_a_deployment_leaves_behind(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        text = "kind: Deployment\nflow_name: etl\nname: {}\nentrypoint: etl.py:etl\n"
        repo.write("other.yaml", text.format("other"))
        repo.write("one.yaml", text.format("old"))
        assert (await repo.apply()).converged
        repo.write("one.yaml", text.format("new") + "reconcile: {previous_name: old}\n")
        plan = await repo.plan()
        made, gone = sorted(plan.changes, key=lambda change: change.key.name)
        assert (made.action, gone.action) == (Action.CREATE, Action.DELETE)
        [effect] = made.effects
        assert "deployment/etl/old can't be renamed: its flow runs keep their history" in effect
        assert (await repo.apply()).converged
        assert (await repo.plan()).empty


async def test_renamed_by_hand_it_is_drift(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        id_ = await begun(repo, "variable")
        by_hand(server, id_, "by_hand")
        plan = await repo.plan()
        assert [(c.key.name, c.action, c.cause) for c in plan.changes] == [
            ("old", Action.CREATE, Cause.DRIFT)
        ]
