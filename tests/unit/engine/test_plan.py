"""What a plan says: which change, why, and with which target."""

import itertools
from dataclasses import replace

import pytest

from reconciler.model.desired import DriftPolicy, Options
from reconciler.model.keys import Key
from reconciler.model.plan import Action, Cause
from reconciler.model.policy import Policy
from reconciler.model.values import ABSENT, MASKED, Ref, Secret
from tests.fakes.bench import BLOCK, DEPLOYMENT, Bench, declare, tree

pytestmark = pytest.mark.anyio

REPORT = Options(drift=DriftPolicy.REPORT)


def only(plan):
    assert len(plan.changes) == 1
    return plan.changes[0]


def field(change, path):
    return next(f for f in change.fields if f.path == path)


def live(bench, key=DEPLOYMENT):
    return bench.server.named(str(key))["fields"]


async def applied(*declarations, **changes):
    bench = Bench()
    assert (await bench.apply(tree(*declarations, **changes))).converged
    bench.writes()
    return bench


async def test_nothing_differs_then_nothing_is_planned_nor_written():
    bench = await applied(declare(DEPLOYMENT, tags=["a"]))
    plan = await bench.plan(tree(declare(DEPLOYMENT, tags=["a"])))
    assert plan.empty
    assert (plan.unchanged, plan.writes, plan.levels) == (1, 0, ())
    assert bench.writes() == []


async def test_a_create_lists_every_field_with_its_place():
    plan = await Bench().plan(tree(declare(BLOCK, data={"env": {"A": "1"}, "list": [1, 2]})))
    change = only(plan)
    assert (change.action, change.cause) == (Action.CREATE, Cause.NEW)
    assert field(change, "data.env.A").after == "1"
    assert field(change, "data.list").after == [1, 2]
    assert str(field(change, "data.env.A").source) == "things.yaml:2:1"


async def test_a_change_in_git_has_the_cause_git_and_writes_one_object():
    bench = await applied(declare(DEPLOYMENT, tags=["a"], description="x"))
    desired = tree(declare(DEPLOYMENT, tags=["b"], description="x"))
    change = only(await bench.plan(desired))
    assert (change.action, change.cause) == (Action.UPDATE, Cause.GIT)
    assert dict(change.target) == {"tags": ["b"]}
    assert [(f.path, f.before, f.after) for f in change.fields] == [("tags", ["a"], ["b"])]
    assert change.effects == ("its auto-scheduled runs are rewritten",)
    await bench.apply(desired)
    writes = bench.writes()
    id_ = bench.server.named(str(DEPLOYMENT))["id"]
    things = [w for w in writes if "/things/" in w]
    assert things == [f"PATCH /things/{id_}", f"POST /things/{id_}/refill"]
    assert len(writes) == 4  # and one shard of the inventory, before and after


async def test_a_change_in_the_api_has_the_cause_drift_and_names_who():
    bench = await applied(declare(DEPLOYMENT, tags=["a"]))
    live(bench)["tags"] = ["z"]
    change = only(await bench.plan(tree(declare(DEPLOYMENT, tags=["a"]))))
    assert (change.action, change.cause) == (Action.UPDATE, Cause.DRIFT)
    assert "by jo" in change.reason
    assert change.drifted


async def test_changes_on_both_sides_take_gits_value_even_where_drift_is_reported():
    bench = await applied(declare(DEPLOYMENT, tags=["a"]))
    live(bench)["tags"] = ["z"]
    change = only(await bench.plan(tree(declare(DEPLOYMENT, options=REPORT, tags=["b"]))))
    assert (change.action, change.cause) == (Action.UPDATE, Cause.BOTH)
    assert dict(change.target) == {"tags": ["b"]}


async def test_only_a_secrets_value_changed():
    bench = await applied(declare(BLOCK, data={"password": Secret("canary-one")}))
    change = only(await bench.plan(tree(declare(BLOCK, data={"password": Secret("canary-two")}))))
    assert change.cause is Cause.SECRET
    shown = field(change, "data.password")
    assert (shown.before, shown.after) == ("<secret>", "<secret, changed>")


async def test_drift_on_a_secret_is_shown_as_changed():
    desired = tree(declare(BLOCK, data={"password": Secret("canary-one")}))
    bench = await applied(*desired.declarations.values())
    live(bench, BLOCK)["data"]["password"] = "canary-two"
    change = only(await bench.plan(desired))
    assert change.cause is Cause.DRIFT
    assert field(change, "data.password").after == "<secret, changed>"


async def test_reported_drift_is_held_and_a_write_for_another_field_keeps_the_live_value():
    def declaration(image):
        return declare(BLOCK, options=REPORT, data={"image": image, "env": {"A": "1"}})

    bench = await applied(declaration("one"))
    live(bench, BLOCK)["data"]["env"] = {"A": "2", "B": "3"}
    held = only(await bench.plan(tree(declaration("one"))))
    assert (held.action, held.wanted) == (Action.BLOCKED, Action.UPDATE)
    assert field(held, "data.env.A").held

    desired = tree(declaration("two"))
    change = only(await bench.plan(desired))
    assert change.action is Action.UPDATE
    assert change.target["data"] == {"image": "two", "env": {"A": "2", "B": "3"}}
    assert (await bench.apply(desired)).converged
    still = only(await bench.plan(desired))
    assert {f.path for f in still.fields} == {"data.env.A", "data.env.B"}
    assert still.cause is Cause.DRIFT


async def test_drift_may_be_reported_for_everything():
    policy = Policy(name="prod", drift="report")
    bench = await applied(declare(DEPLOYMENT, tags=["a"]))
    live(bench)["tags"] = ["z"]
    desired = tree(declare(DEPLOYMENT, tags=["a"]), policy=policy)
    assert only(await bench.plan(desired)).action is Action.BLOCKED
    healed = tree(
        declare(DEPLOYMENT, tags=["a"], options=Options(drift=DriftPolicy.HEAL)), policy=policy
    )
    assert only(await bench.plan(healed)).action is Action.UPDATE


async def test_an_object_deleted_behind_gits_back_is_created_again():
    bench = await applied(declare(DEPLOYMENT, tags=["a"]))
    bench.server.objects.clear()
    desired = tree(declare(DEPLOYMENT, tags=["a"]))
    change = only(await bench.plan(desired))
    assert (change.action, change.cause) == (Action.CREATE, Cause.DRIFT)
    reported = only(await bench.plan(tree(declare(DEPLOYMENT, options=REPORT, tags=["a"]))))
    assert (reported.action, reported.wanted) == (Action.BLOCKED, Action.CREATE)
    assert (await bench.apply(desired)).converged
    assert (await bench.plan(desired)).empty


async def test_a_field_no_longer_declared_returns_to_its_default():
    bench = await applied(declare(DEPLOYMENT, tags=["a"], description="x"))
    desired = tree(declare(DEPLOYMENT, tags=["a"]))
    change = only(await bench.plan(desired))
    assert dict(change.target) == {"description": None}
    assert change.cause is Cause.GIT
    await bench.apply(desired)
    live(bench)["description"] = "by hand"  # nobody manages it any more
    assert (await bench.plan(desired)).empty


async def test_paused_is_released_when_it_is_no_longer_declared():
    bench = await applied(declare(DEPLOYMENT, tags=["a"], paused=True))
    desired = tree(declare(DEPLOYMENT, tags=["a"]))
    report = await bench.apply(desired)
    assert report.converged
    assert live(bench)["paused"] is True
    assert [w for w in bench.writes() if "/things/" in w] == []
    assert (await bench.plan(desired)).empty


async def test_what_moves_to_ignore_is_neither_compared_nor_written():
    bench = await applied(declare(BLOCK, data={"image": "one", "env": {"A": "1"}}))
    ignoring = Options(ignore=("data.env",))
    live(bench, BLOCK)["data"]["env"] = {"A": "hand"}
    desired = tree(declare(BLOCK, options=ignoring, data={"image": "two", "env": {"A": "1"}}))
    change = only(await bench.plan(desired))
    assert [f.path for f in change.fields] == ["data.image"]
    assert change.target["data"] == {"image": "two", "env": {"A": "hand"}}
    await bench.apply(desired)
    live(bench, BLOCK)["data"].pop("env")
    assert (await bench.plan(desired)).empty


async def test_a_whole_field_may_be_ignored():
    bench = await applied(declare(DEPLOYMENT, tags=["a"], paused=False))
    live(bench)["paused"] = True
    desired = tree(
        declare(DEPLOYMENT, options=Options(ignore=("paused",)), tags=["a"], paused=False)
    )
    await bench.apply(desired)
    assert live(bench)["paused"] is True
    assert (await bench.plan(desired)).empty


async def test_a_suspended_resource_is_left_entirely_alone():
    bench = await applied(declare(DEPLOYMENT, tags=["a"]))
    suspended = tree(declare(DEPLOYMENT, options=Options(suspend=True), tags=["b"]))
    await bench.apply(suspended)
    assert live(bench)["tags"] == ["a"]
    assert (await bench.plan(suspended)).empty
    back = tree(declare(DEPLOYMENT, tags=["b"]))
    assert (await bench.apply(back)).converged
    assert live(bench)["tags"] == ["b"]
    assert (await bench.plan(back)).empty


async def test_a_suspended_resource_that_is_not_there_is_not_created():
    plan = await Bench().plan(tree(declare(DEPLOYMENT, options=Options(suspend=True), tags=[])))
    assert plan.empty


async def test_git_takes_over_what_was_live_and_later_drift_is_drift():
    bench = await applied(declare(DEPLOYMENT, options=REPORT, tags=["a"]))
    live(bench)["tags"] = ["z"]
    desired = tree(declare(DEPLOYMENT, options=REPORT, tags=["z"]))
    change = only(await bench.plan(desired))
    assert (change.action, change.fields) == (Action.UPDATE, ())
    await bench.apply(desired)
    assert [w for w in bench.writes() if "/things/" in w] == []
    assert (await bench.plan(desired)).empty
    live(bench)["tags"] = ["y"]
    assert only(await bench.plan(desired)).cause is Cause.DRIFT


async def test_a_newly_declared_field_that_differs_has_the_cause_git():
    bench = await applied(declare(DEPLOYMENT, tags=["a"]))
    live(bench)["description"] = "by hand"
    change = only(await bench.plan(tree(declare(DEPLOYMENT, tags=["a"], description="git"))))
    assert field(change, "description").cause is Cause.GIT


async def test_a_mapping_that_becomes_a_scalar_is_one_difference():
    bench = await applied(declare(BLOCK, data={"env": {"A": "1"}}))
    change = only(await bench.plan(tree(declare(BLOCK, data={"env": None}))))
    assert [(f.path, f.cause) for f in change.fields] == [("data.env", Cause.GIT)]


async def test_what_appears_inside_an_empty_mapping_is_drift():
    desired = tree(declare(BLOCK, data={"env": {}}))
    bench = await applied(*desired.declarations.values())
    live(bench, BLOCK)["data"]["env"] = {"__A": "1", "b.c": "2"}
    change = only(await bench.plan(desired))
    assert {f.path: (f.before, f.after, f.cause) for f in change.fields} == {
        "data.env.__A": ("1", ABSENT, Cause.DRIFT),
        'data.env["b.c"]': ("2", ABSENT, Cause.DRIFT),
    }


async def test_three_heals_of_a_field_within_an_hour_and_it_is_left_alone_until_git_changes_it():
    desired = tree(declare(DEPLOYMENT, tags=["a"], description="x"))
    bench = await applied(*desired.declarations.values())
    for _ in range(3):
        live(bench)["tags"] = ["z"]
        assert (await bench.apply(desired)).converged
        assert live(bench)["tags"] == ["a"]
        bench.server.tick(60)
    live(bench)["tags"] = ["z"]
    change = only(await bench.plan(desired))
    assert change.action is Action.BLOCKED
    assert "three times" in change.reason
    live(bench)["description"] = "y"  # another field is still healed
    await bench.apply(desired)
    assert live(bench) == {"tags": ["z"], "description": "x"}
    assert only(await bench.plan(desired)).action is Action.BLOCKED
    changed = tree(declare(DEPLOYMENT, tags=["b"], description="x"))
    assert (await bench.apply(changed)).converged
    assert live(bench)["tags"] == ["b"]
    live(bench)["tags"] = ["z"]
    assert only(await bench.plan(changed)).action is Action.UPDATE


async def test_heals_spread_over_more_than_an_hour_go_on():
    desired = tree(declare(DEPLOYMENT, tags=["a"]))
    bench = await applied(*desired.declarations.values())
    for _ in range(5):
        live(bench)["tags"] = ["z"]
        assert (await bench.apply(desired)).converged
        bench.server.tick(1900)


async def test_what_drift_added_is_healed_three_times_too():
    desired = tree(declare(BLOCK, data={"env": {"A": "1"}}))
    bench = await applied(*desired.declarations.values())
    for _ in range(3):
        live(bench, BLOCK)["data"]["env"]["B"] = "2"
        assert (await bench.apply(desired)).converged
    live(bench, BLOCK)["data"]["env"]["B"] = "2"
    assert only(await bench.plan(desired)).action is Action.BLOCKED


async def test_an_equal_object_is_adopted_quietly():
    bench = Bench()
    bench.server.put(str(DEPLOYMENT), {"tags": ["a"], "description": "mine"})
    desired = tree(declare(DEPLOYMENT, tags=["a"]))
    change = only(await bench.plan(desired))
    assert (change.action, change.fields) == (Action.ADOPT, ())
    assert (await bench.apply(desired)).converged
    assert [w for w in bench.writes() if "/things/" in w] == []
    assert (await bench.plan(desired)).empty


@pytest.mark.parametrize("how", ["option", "declaration"])
async def test_a_differing_object_is_blocked_until_its_adoption_is_allowed(how):
    bench = Bench()
    bench.server.put(str(DEPLOYMENT), {"tags": ["z"]})
    desired = tree(declare(DEPLOYMENT, tags=["a"]))
    change = only(await bench.plan(desired))
    assert (change.action, change.wanted) == (Action.BLOCKED, Action.ADOPT)
    assert "--adopt deployment/etl/nightly" in change.reason
    if how == "option":
        await bench.apply(desired, adopt=("deployment/*",))
    else:
        desired = tree(declare(DEPLOYMENT, options=Options(adopt=True), tags=["a"]))
        await bench.apply(desired)
    assert live(bench)["tags"] == ["a"]
    assert (await bench.plan(desired)).empty


async def test_an_object_made_anew_under_its_name_needs_adoption_again():
    bench = await applied(declare(DEPLOYMENT, tags=["a"]))
    bench.server.objects.clear()
    bench.server.put(str(DEPLOYMENT), {"tags": ["z"]})
    assert only(await bench.plan(tree(declare(DEPLOYMENT, tags=["a"])))).action is Action.BLOCKED


async def test_what_another_inventory_owns_is_a_conflict():
    bench = await applied(declare(DEPLOYMENT, tags=["a"]))
    other = Bench(bench.server, name="other")
    change = only(await other.plan(tree(declare(DEPLOYMENT, tags=["b"])), adopt=("*",)))
    assert change.action is Action.BLOCKED
    assert "the inventory prod owns it" in change.reason


async def test_an_immutable_field_is_blocked_with_the_way_out():
    bench = await applied(declare(DEPLOYMENT, flow_id="1"))
    change = only(await bench.plan(tree(declare(DEPLOYMENT, flow_id="2"))))
    assert (change.action, change.wanted) == (Action.BLOCKED, Action.UPDATE)
    assert "delete the object" in change.reason


async def test_a_live_secret_that_may_not_be_read_is_compared_by_what_git_last_wanted():
    bench = await applied(declare(BLOCK, data={"password": Secret("canary-one"), "image": "x"}))
    same = tree(declare(BLOCK, data={"password": Secret("canary-one"), "image": "x"}))
    assert (await bench.plan(same, secrets=False)).empty
    other = tree(declare(BLOCK, data={"password": Secret("canary-two"), "image": "x"}))
    assert only(await bench.plan(other, secrets=False)).cause is Cause.SECRET


async def test_secrets_that_were_not_read_are_not_compared():
    bench = await applied(declare(BLOCK, data={"password": Secret("canary-one"), "image": "x"}))
    masked = tree(declare(BLOCK, data={"password": MASKED, "image": "x"}), secrets_read=False)
    plan = await bench.plan(masked, secrets=False)
    assert plan.empty
    assert "not compared" in plan.notices[0]
    changed = tree(declare(BLOCK, data={"password": MASKED, "image": "y"}), secrets_read=False)
    assert [f.path for f in only(await bench.plan(changed, secrets=False)).fields] == ["data.image"]


async def test_a_list_with_a_secret_that_was_not_read_is_not_compared():
    bench = await applied(declare(BLOCK, data={"command": ["run", Secret("canary-one")]}))
    masked = tree(declare(BLOCK, data={"command": ["run", MASKED]}), secrets_read=False)
    assert (await bench.plan(masked)).empty
    assert (await bench.plan(masked, secrets=False)).empty


async def test_an_open_field_is_filled_from_the_live_side_and_is_no_drift():
    desired = tree(declare(DEPLOYMENT, anchor=None, tags=["a"]))
    bench = await applied(*desired.declarations.values())
    live(bench)["anchor"] = "2026"
    assert (await bench.plan(desired)).empty


async def test_targets_take_along_what_they_refer_to_and_nothing_else():
    other = Key.of("deployment", "etl", "other")
    desired = tree(
        declare(BLOCK, data={}),
        declare(DEPLOYMENT, infrastructure=Ref(BLOCK)),
        declare(other, tags=[]),
    )
    plan = await Bench().plan(desired, targets=("deployment/etl/nightly",))
    assert [c.key for c in plan.changes] == [BLOCK, DEPLOYMENT]


async def test_targets_limit_deletes_too():
    bench = await applied(declare(BLOCK, data={}), declare(DEPLOYMENT, tags=[]))
    plan = await bench.plan(tree(), targets=("block/*",))
    assert [c.key for c in plan.changes] == [BLOCK]


async def test_only_drift_leaves_out_what_git_changed():
    bench = await applied(declare(BLOCK, data={"a": 1}), declare(DEPLOYMENT, tags=["a"]))
    live(bench)["tags"] = ["z"]
    desired = tree(declare(BLOCK, data={"a": 2}), declare(DEPLOYMENT, tags=["a"], description="x"))
    change = only(await bench.plan(desired, only_drift=True))
    assert [f.path for f in change.fields] == ["tags"]


async def test_references_come_first_and_their_dependents_wait_with_them():
    bench = Bench()
    bench.server.put(str(DEPLOYMENT), {})
    chain = [Key.of("block", "process", str(n)) for n in range(4)]
    declarations = [
        declare(key, data={"next": Ref(following)}) for key, following in itertools.pairwise(chain)
    ]
    plan = await bench.plan(tree(*declarations, declare(chain[-1], data={})))
    assert plan.levels == tuple((key,) for key in reversed(chain))


async def test_what_refers_to_a_held_create_is_held_as_well():
    bench = await applied(
        declare(BLOCK, options=REPORT, data={}), declare(DEPLOYMENT, infrastructure=Ref(BLOCK))
    )
    bench.server.objects.clear()
    plan = await bench.plan(
        tree(
            declare(BLOCK, options=REPORT, data={}), declare(DEPLOYMENT, infrastructure=Ref(BLOCK))
        )
    )
    held = {c.key: c.reason for c in plan.changes if c.action is Action.BLOCKED}
    assert held.keys() == {BLOCK, DEPLOYMENT}
    assert f"it needs {BLOCK}" in held[DEPLOYMENT]


async def test_the_digest_forgets_the_commit_and_the_file():
    bench = await applied(declare(DEPLOYMENT, tags=["a"]))
    one = tree(declare(DEPLOYMENT, tags=["b"]))
    other = tree(declare(DEPLOYMENT, file="moved.yaml", tags=["b"]), revision="def", commit="def")
    other = replace(other, digest=one.digest)
    digest = (await bench.plan(one)).digest
    assert (await bench.plan(other)).digest == digest
    assert digest.startswith("sha256:")


@pytest.mark.parametrize("what", ["manifest", "live", "secret"])
async def test_the_digest_moves_with_manifests_and_live_state(what):
    def desired(tag="b", password="canary-one"):
        return tree(declare(BLOCK, data={"password": Secret(password), "tag": tag}))

    bench = await applied(*desired("a").declarations.values())
    digest = (await bench.plan(desired())).digest
    assert (await bench.plan(desired())).digest == digest
    after = desired()
    if what == "manifest":
        after = desired("c")
    elif what == "live":
        live(bench, BLOCK)["data"]["tag"] = "z"
    else:
        live(bench, BLOCK)["data"]["password"] = "canary-two"
    assert (await bench.plan(after)).digest != digest


async def test_the_digest_of_a_first_plan_is_stable_without_an_inventory():
    desired = tree(declare(BLOCK, data={"password": Secret("canary-one")}))
    bench = Bench()
    assert (await bench.plan(desired)).digest == (await bench.plan(desired)).digest


async def test_writes_are_estimated_as_they_then_are():
    desired = tree(declare(DEPLOYMENT, tags=["a"]))
    bench = await applied(*desired.declarations.values())
    desired = tree(declare(DEPLOYMENT, tags=["b"]))
    plan = await bench.plan(desired)
    await bench.apply_with_lease(desired)
    types = [w for w in bench.writes() if "block_types" not in w and "block_schemas" not in w]
    assert plan.writes == len(types)


async def test_what_refers_to_a_suspended_resource_that_is_not_there_is_held():
    plan = await Bench().plan(
        tree(
            declare(BLOCK, options=Options(suspend=True), data={}),
            declare(DEPLOYMENT, infrastructure=Ref(BLOCK)),
        )
    )
    change = only(plan)
    assert (change.action, change.wanted) == (Action.BLOCKED, Action.CREATE)
    assert f"it needs {BLOCK}" in change.reason
