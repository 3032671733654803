"""Deleting needs proof, and what is dangerous is held with the way to allow it."""

from dataclasses import replace

import pytest

from reconciler.engine.apply import apply
from reconciler.errors import Overloaded
from reconciler.model.desired import Options
from reconciler.model.keys import Key
from reconciler.model.plan import Action
from reconciler.model.policy import Policy, Prune
from reconciler.model.report import Result
from reconciler.model.values import Ref
from tests.fakes.bench import BLOCK, DEPLOYMENT, Bench, FreeLease, declare, tree

pytestmark = pytest.mark.anyio

OTHER = Key.of("block", "process", "other")
REST = declare(Key.of("block", "process", "rest"), data={})


def many(count, file="many.yaml"):
    return [declare(Key.of("block", "process", f"b{n}"), file=file, data={}) for n in range(count)]


async def applied(*declarations, **changes):
    bench = Bench()
    assert (await bench.apply(tree(REST, *declarations, **changes))).converged
    bench.writes()
    return bench


def blocked(plan, key):
    change = next(c for c in plan.changes if c.key == key)
    assert (change.action, change.wanted) == (Action.BLOCKED, Action.DELETE), change.action
    return change.reason


def deletes(plan):
    return {c.key for c in plan.changes if c.action is Action.DELETE}


async def test_what_git_no_longer_declares_is_deleted_after_the_rest_and_forgotten():
    bench = await applied(declare(BLOCK, data={}), declare(DEPLOYMENT, infrastructure=Ref(BLOCK)))
    desired = tree(REST, declare(OTHER, data={}))
    plan = await bench.plan(desired)
    assert plan.levels == ((OTHER,), (DEPLOYMENT,), (BLOCK,))
    assert (await bench.apply(desired)).converged
    assert {o["key"] for o in bench.server.objects.values()} == {str(OTHER), str(REST.key)}
    assert set(await bench.entries()) == {OTHER, REST.key}
    assert (await bench.plan(desired)).empty


async def test_only_what_is_owned_is_deleted():
    bench = await applied()
    bench.server.put(str(BLOCK), {"data": {}})
    assert (await bench.plan(tree(REST))).empty


async def test_a_block_and_its_deployment_go_together_without_any_permission():
    bench = await applied(declare(BLOCK, data={}), declare(DEPLOYMENT, infrastructure=Ref(BLOCK)))
    assert deletes(await bench.plan(tree(REST))) == {BLOCK, DEPLOYMENT}


async def test_a_deployment_that_stays_keeps_its_block_unless_the_cascade_is_allowed():
    bench = await applied(declare(BLOCK, data={}))
    bench.server.put(
        "deployment/etl/theirs",
        {"infrastructure": {"$id": bench.server.named(str(BLOCK))["id"]}},
    )
    reason = blocked(await bench.plan(tree(REST)), BLOCK)
    assert "deletes deployment/etl/theirs" in reason
    assert f"--allow-cascade {BLOCK}" in reason
    assert deletes(await bench.plan(tree(REST), allow_cascade=("block/process/*",))) == {BLOCK}
    policy = Policy(name="prod", prune=Prune(allow=("block/*",)))
    assert deletes(await bench.plan(tree(REST, policy=policy))) == {BLOCK}


async def test_a_deployment_that_is_pointed_elsewhere_frees_its_block():
    bench = await applied(
        declare(BLOCK, data={}),
        declare(OTHER, data={}),
        declare(DEPLOYMENT, infrastructure=Ref(BLOCK)),
    )
    desired = tree(REST, declare(OTHER, data={}), declare(DEPLOYMENT, infrastructure=Ref(OTHER)))
    plan = await bench.plan(desired)
    assert deletes(plan) == {BLOCK}
    assert plan.levels == ((DEPLOYMENT,), (BLOCK,))
    assert (await bench.apply(desired)).converged
    assert bench.server.named(str(DEPLOYMENT)) is not None


async def test_run_history_holds_a_block_with_its_count():
    bench = await applied(declare(BLOCK, data={}))
    bench.server.history[bench.server.named(str(BLOCK))["id"]] = 41
    assert "41 flow runs" in blocked(await bench.plan(tree(REST)), BLOCK)


async def test_a_held_deployment_keeps_its_block():
    keep = Options(prune=False)
    bench = await applied(
        declare(BLOCK, data={}), declare(DEPLOYMENT, options=keep, infrastructure=Ref(BLOCK))
    )
    plan = await bench.plan(tree(REST))
    assert "prune: false" in blocked(plan, DEPLOYMENT)
    assert blocked(plan, BLOCK)


async def test_prune_false_is_remembered_after_its_file_is_gone():
    bench = await applied(declare(DEPLOYMENT, tags=[]))
    keep = tree(REST, declare(DEPLOYMENT, options=Options(prune=False), tags=[]))
    await bench.apply(keep)  # no field differs: only the mark is new
    assert (await bench.plan(keep)).empty
    reason = blocked(await bench.plan(tree(REST)), DEPLOYMENT)
    assert f"forget {DEPLOYMENT}" in reason


async def test_what_was_suspended_when_its_file_went_stays():
    bench = await applied(declare(DEPLOYMENT, tags=[]))
    await bench.apply(tree(REST, declare(DEPLOYMENT, options=Options(suspend=True), tags=[])))
    assert "suspended" in blocked(await bench.plan(tree(REST)), DEPLOYMENT)


async def test_pruning_may_be_off():
    bench = await applied(declare(DEPLOYMENT, tags=[]))
    policy = Policy(name="prod", prune=Prune(enabled=False))
    assert "pruning is off" in blocked(await bench.plan(tree(REST, policy=policy)), DEPLOYMENT)


async def test_a_deployment_with_active_runs_waits_for_their_end():
    bench = await applied(declare(DEPLOYMENT, tags=[]))
    id_ = bench.server.named(str(DEPLOYMENT))["id"]
    bench.server.active[id_] = 2
    assert "2 flow run(s) are active" in blocked(await bench.plan(tree(REST)), DEPLOYMENT)
    bench.server.active[id_] = 0
    assert deletes(await bench.plan(tree(REST))) == {DEPLOYMENT}


async def test_an_unverified_tree_deletes_nothing():
    bench = await applied(declare(DEPLOYMENT, tags=[]))
    reason = blocked(await bench.plan(tree(REST, verified=False)), DEPLOYMENT)
    assert "not known to be whole" in reason


async def test_a_failing_list_page_deletes_nothing_and_the_plan_says_why():
    bench = await applied(declare(DEPLOYMENT, tags=[]))

    def failing(request):
        wanted = request.path == "/things/filter" and request.body["kind"] == "deployment"
        return "503" if wanted else None

    plan = await bench.plan(tree(REST), failing)
    assert "not complete" in blocked(plan, DEPLOYMENT)
    assert "deployment: POST /things/filter: 503" in plan.notices[0]
    still = tree(REST, declare(DEPLOYMENT, tags=[]))
    assert (await bench.plan(still, failing)).empty  # its own GET finds it


async def test_evidence_that_can_not_be_had_holds_the_delete():
    bench = await applied(declare(DEPLOYMENT, tags=[]))
    plan = await bench.plan(tree(REST), lambda r: "503" if "/usage" in r.path else None)
    assert "could not be confirmed" in blocked(plan, DEPLOYMENT)


async def test_what_is_gone_already_is_only_forgotten():
    bench = await applied(declare(DEPLOYMENT, tags=[]))
    bench.server.objects = {i: o for i, o in bench.server.objects.items() if o["kind"] == "block"}
    report = await bench.apply(tree(REST))
    assert report.converged
    assert [w for w in bench.writes() if "DELETE /things" in w] == []
    assert set(await bench.entries()) == {REST.key}


async def test_more_than_ten_and_more_than_the_share_is_held_with_the_number_to_allow():
    bench = await applied(*many(12))
    plan = await bench.plan(tree(REST))
    assert plan.count(Action.BLOCKED) == 12
    assert "12 of 13 objects" in plan.notices[0]
    assert "--allow-deletes 12" in plan.notices[0]
    assert (await bench.plan(tree(REST), allow_deletes=11)).count(Action.DELETE) == 0
    assert (await bench.plan(tree(REST), allow_deletes=12)).count(Action.DELETE) == 12


async def test_a_hold_blocks_nothing_else():
    bench = await applied(*many(12))
    desired = tree(REST, declare(OTHER, data={}))
    report = await bench.apply(desired)
    assert report.of(OTHER).result is Result.DONE
    assert report.converged
    assert bench.server.named(str(OTHER)) is not None


@pytest.mark.parametrize(("count", "keep"), [(10, 1), (11, 30)])
async def test_few_deletes_or_a_small_share_need_no_permission(count, keep):
    gone = [
        declare(Key.of("block", "process", f"x{n}"), file="x.yaml", data={}) for n in range(count)
    ]
    bench = await applied(*many(keep), *gone)
    plan = await bench.plan(tree(REST, *many(keep)))
    assert len(deletes(plan)) == count


async def test_an_empty_tree_deletes_nothing():
    bench = await applied(declare(DEPLOYMENT, tags=[]))
    plan = await bench.plan(tree())
    assert plan.count(Action.BLOCKED) == 2
    assert "nothing at all would be left" in plan.notices[0]
    assert (await bench.plan(tree(), allow_deletes=2)).count(Action.DELETE) == 2


async def test_a_file_that_gave_objects_and_gives_none_now_holds_the_deletes():
    bench = await applied(declare(DEPLOYMENT, file="one.yaml", tags=[]))
    plan = await bench.plan(tree(REST, files={"one.yaml": ()}))
    assert "one.yaml gave objects and gives none now" in plan.notices[0]
    assert not deletes(plan)


async def test_what_git_still_refers_to_is_not_deleted():
    bench = await applied(declare(BLOCK, data={}), declare(DEPLOYMENT, infrastructure=Ref(BLOCK)))
    plan = await bench.plan(tree(REST, declare(DEPLOYMENT, infrastructure=Ref(BLOCK))))
    assert f"referred to in git by {DEPLOYMENT}" in blocked(plan, BLOCK)


async def test_what_two_inventories_own_is_deleted_by_neither():
    bench = await applied(declare(DEPLOYMENT, tags=[]))
    other = Bench(bench.server, name="other")
    _, _desired, _observed, _ = await other.look(tree())
    store = other.access().store
    await store.load()
    await store.save(put=[(await bench.entries())[DEPLOYMENT]])
    assert "the inventory other owns it too" in blocked(await bench.plan(tree(REST)), DEPLOYMENT)


async def test_a_kind_that_this_version_does_not_know_is_left():
    bench = await applied(declare(DEPLOYMENT, tags=[]))
    store = bench.access().store
    await store.load()
    entry = (await bench.entries())[DEPLOYMENT]
    unknown = Key.of("automation", "later")
    await store.save(put=[replace(entry, key=unknown, id="x")])
    desired = tree(REST, declare(DEPLOYMENT, tags=[]))
    assert "could not be confirmed" in blocked(await bench.plan(desired), unknown)


async def test_destroy_deletes_all_that_is_owned_but_not_without_proof():
    keep = Options(prune=False)
    bench = await applied(
        declare(BLOCK, data={}), declare(DEPLOYMENT, options=keep, infrastructure=Ref(BLOCK))
    )
    bench.server.put("block/process/theirs", {"data": {}})
    bench.server.history[bench.server.named(str(BLOCK))["id"]] = 3
    unproven = await bench.plan(
        tree(), lambda r: "503" if "/usage" in r.path else None, destroy=True
    )
    assert not deletes(unproven)
    assert (await bench.apply(tree(), destroy=True)).converged
    assert [o["key"] for o in bench.server.objects.values()] == ["block/process/theirs"]
    assert bench.server.records("reconciler-inventory") == []


async def test_destroy_leaves_the_deployments_of_others_and_what_they_need():
    bench = await applied(declare(BLOCK, data={}), declare(DEPLOYMENT, infrastructure=Ref(BLOCK)))
    id_ = bench.server.named(str(BLOCK))["id"]
    bench.server.put("deployment/etl/theirs", {"infrastructure": {"$id": id_}})
    plan = await bench.plan(tree(), destroy=True)
    assert "deletes deployment/etl/theirs" in blocked(plan, BLOCK)
    assert (await bench.apply(tree(), destroy=True)).converged
    assert {o["key"] for o in bench.server.objects.values()} == {
        str(BLOCK),
        "deployment/etl/theirs",
    }
    assert set(await bench.entries()) == {BLOCK}
    allowed = await bench.plan(tree(), destroy=True, allow_cascade=(str(BLOCK),))
    assert deletes(allowed) == {BLOCK}


async def test_what_came_to_depend_on_it_since_the_plan_stops_the_delete():
    bench = await applied(declare(BLOCK, data={}), declare(DEPLOYMENT, tags=[]))
    plan, desired, observed, access = await bench.look(tree(REST))
    id_ = bench.server.named(str(BLOCK))["id"]
    bench.server.put("deployment/etl/theirs", {"infrastructure": {"$id": id_}})
    bench.server.active[bench.server.named(str(DEPLOYMENT))["id"]] = 1
    report = await apply(plan, desired, observed, access, FreeLease())
    assert "since the plan was made" in report.of(BLOCK).error
    assert "have become active" in report.of(DEPLOYMENT).error
    assert not report.converged
    assert len(bench.server.objects) == 4


async def test_a_deployment_that_did_not_let_go_of_its_block_keeps_it_alive():
    bench = await applied(
        declare(BLOCK, data={}),
        declare(OTHER, data={}),
        declare(DEPLOYMENT, infrastructure=Ref(BLOCK)),
    )
    desired = tree(REST, declare(OTHER, data={}), declare(DEPLOYMENT, infrastructure=Ref(OTHER)))
    plan, desired, observed, access = await bench.look(desired)
    bench.server.drops = {"infrastructure"}  # the update is answered with success all the same
    report = await apply(plan, desired, observed, access, FreeLease())
    assert f"deletes {DEPLOYMENT}" in report.of(BLOCK).error
    assert not report.converged
    assert bench.server.named(str(BLOCK)) is not None


async def test_a_lost_page_in_the_middle_is_a_gap_too():
    bench = await applied(declare(DEPLOYMENT, tags=[]))
    with pytest.raises(Overloaded):
        await bench.plan(tree(REST), lambda _: "503")
