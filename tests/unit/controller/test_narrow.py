"""A turn that only a new revision has asked for looks at what that touches, and at no more.

Where that can't be enough it gives way to a look at everything; in the end the server holds the same.
"""

import itertools

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.controller.board import Board
from reconciler.controller.history import History
from reconciler.errors import InvalidManifests, LeaseHeld, StaleRevision
from reconciler.model.plan import Cause
from reconciler.model.status import DriftEnd, ResourceState
from reconciler.telemetry.metrics import Metrics
from tests.fakes.following import Following
from tests.fakes.manual_clock import ManualClock
from tests.fakes.source import snapshot_of

pytestmark = pytest.mark.anyio

POLICY = "name: prod\nprune: {max_deletes: 100, max_share: 100%}\n"
NUMBERS = itertools.count(1)


def deployment(name, description="", **more):
    fields = {"flow_name": "etl", "name": name, "description": description, **more}
    return yaml.safe_dump({"kind": "Deployment", **fields})


def block(name, **data):
    fields = {"block_type_slug": "process", "name": name, "data": data}
    return yaml.safe_dump({"kind": "Block", **fields})


MANY = {f"d{n}.yaml": deployment(f"d{n}", "old") for n in range(30)}


def tree(files, policy=POLICY):
    return snapshot_of({"reconciler.yaml": policy, **files}, revision=f"{next(NUMBERS):040}")


async def settled(*files, **more):
    """Return a follower that has seen the first tree whole; the next fetch gives the second."""
    following = Following(
        *(one if hasattr(one, "revision") else tree(one) for one in files), **more
    )
    turn = await following.turn()
    assert turn.whole
    assert turn.report.converged
    following.server.log.clear()
    return following


async def moved(following):
    """Take the turn of somebody whose source has something new."""
    following.follower.moved()
    return await following.turn()


def looked_at_everything(following):
    return any(request.path == "/things/filter" for request in following.server.log)


def description(following, name):
    return following.server.named(f"deployment/etl/{name}")["fields"]["description"]


async def test_one_changed_file_among_many_costs_a_handful_of_requests():
    following = await settled(MANY, MANY | {"d7.yaml": deployment("d7", "new")})
    turn = await moved(following)
    assert turn.report.converged
    assert turn.fresh
    assert description(following, "d7") == "new"
    assert [str(key) for key in turn.plan.scope] == ["deployment/etl/d7"]
    assert turn.plan.summary() | {"unchanged": 29, "update": 1} == turn.plan.summary()
    assert not looked_at_everything(following)
    assert len(following.server.log) <= 11, [(r.method, r.path) for r in following.server.log]


async def test_what_is_new_is_created_with_what_it_refers_to():
    new = {
        "b.yaml": block("fast"),
        "e.yaml": deployment("e", infrastructure="process/fast"),
        "f.yaml": deployment("f", infrastructure="process/old"),
    }
    following = await settled(
        MANY | {"o.yaml": block("old")}, MANY | {"o.yaml": block("old")} | new
    )
    turn = await moved(following)
    assert turn.report.converged
    assert not looked_at_everything(following)
    for name, target in (("e", "fast"), ("f", "old")):
        refers = following.server.named(f"deployment/etl/{name}")["fields"]["infrastructure"]
        assert refers == {"$id": following.server.named(f"block/process/{target}")["id"]}
    following.follower.wake()
    assert (await following.turn()).plan.empty


async def test_a_revision_that_touches_no_resource_asks_the_server_nothing_and_serves_its_code():
    following = await settled(MANY, MANY | {"flow.py": "print()"})
    turn = await moved(following)
    assert turn.report.converged
    assert turn.plan.unchanged == 30
    assert following.server.log == []
    assert len(following.served) == 2


def deleted_by_hand(following):
    gone = following.server.named("deployment/etl/d7")
    del following.server.objects[gone["id"]]


def made_by_hand(following):
    following.server.put("deployment/etl/new", {"description": "new"})


def renamed_by_hand(following):
    following.server.named("deployment/etl/d7")["key"] = "deployment/etl/other"


def refers_to_a_stranger(following):
    stranger = following.server.put("block/process/stranger", {"data": {}})
    found = following.server.named("deployment/etl/d7")
    found["fields"]["infrastructure"] = {"$id": stranger["id"]}


CHANGED = MANY | {"d7.yaml": deployment("d7", "new")}
WITH_NEW = MANY | {"new.yaml": deployment("new", "new")}


@pytest.mark.parametrize(
    ("second", "before"),
    [
        (tree(dict(list(MANY.items())[1:])), None),
        (tree(CHANGED), deleted_by_hand),
        (tree(CHANGED), renamed_by_hand),
        (tree(CHANGED), refers_to_a_stranger),
        (tree(WITH_NEW), made_by_hand),
        (tree(CHANGED, POLICY + "drift: report\n"), None),
        (tree(MANY | {"d7.yaml": deployment("d7", reconcile={"suspend": True})}), None),
        (tree(WITH_NEW | {"d7.yaml": deployment("d7", infrastructure="process/none")}), None),
        (tree({name: text.replace("old", "new") for name, text in MANY.items()}), None),
    ],
    ids=[
        "a delete",
        "deleted by hand",
        "renamed by hand",
        "refers to what was not seen",
        "there already",
        "another policy",
        "suspended",
        "refers to nothing",
        "much of it",
    ],
)
async def test_what_takes_a_whole_look_gets_one(second, before):
    following = await settled(MANY, second)
    if before is not None:
        before(following)
    turn = await moved(following)
    assert looked_at_everything(following)
    assert turn.whole


async def test_only_what_was_woken_for_something_new_is_narrow():
    following = await settled(MANY, CHANGED, MANY, CHANGED)
    await following.turn()  # the timer
    assert looked_at_everything(following)
    following.server.log.clear()
    following.follower.moved()
    following.follower.wake()  # somebody asked, too
    await following.turn()
    assert looked_at_everything(following)
    following.server.log.clear()
    await moved(following)
    assert not looked_at_everything(following)


async def test_drift_elsewhere_waits_for_the_next_whole_look():
    following = await settled(MANY, CHANGED)
    following.server.named("deployment/etl/d3")["fields"]["description"] = "by hand"
    await moved(following)
    assert description(following, "d3") == "by hand"
    await following.turn()
    assert description(following, "d3") == "old"


async def test_drift_of_what_is_touched_is_seen():
    following = await settled(MANY, CHANGED)
    following.server.named("deployment/etl/d7")["fields"]["description"] = "by hand"
    turn = await moved(following)
    [change] = turn.plan.changes
    assert change.cause is Cause.BOTH
    assert description(following, "d7") == "new"


async def test_after_a_failed_write_the_next_look_is_whole():
    failing = []
    following = await settled(
        MANY, CHANGED, MANY, fault=lambda r: "503" if failing and r.method == "PATCH" else None
    )
    failing.append(True)
    turn = await moved(following)
    assert not turn.report.converged
    failing.clear()
    following.server.log.clear()
    assert (await moved(following)).report.converged
    assert looked_at_everything(following)


@pytest.mark.parametrize("error", [StaleRevision("the ref moved"), LeaseHeld("another one")])
async def test_what_may_not_be_written_yet_is_tried_again_and_the_look_stays_narrow(error):
    following = await settled(MANY, CHANGED)

    async def refuse(plan):
        raise error

    following.follower._permit = refuse
    turn = await moved(following)
    assert turn.error is error
    assert not turn.settled
    assert description(following, "d7") == "old"
    assert len(following.served) == 1
    following.follower._permit = None
    assert (await following.turn()).report.converged
    assert description(following, "d7") == "new"
    assert not looked_at_everything(following)


async def test_a_broken_revision_is_said_and_the_last_good_one_healed_to():
    following = await settled(MANY, MANY | {"d7.yaml": "kind: Deployment\nname: ["})
    following.server.named("deployment/etl/d3")["fields"]["description"] = "by hand"
    turn = await moved(following)
    assert isinstance(turn.error, InvalidManifests)
    assert description(following, "d3") == "old"


async def test_a_secret_that_changed_is_found_by_a_narrow_look():
    secrets = {"S_x": "one"}
    policy = POLICY + "secrets: [{env: S_}]\n"
    files = MANY | {"b.yaml": block("b", password="${{ secrets.x }}")}
    following = await settled(tree(files, policy), tree(files, policy), secrets=secrets)
    secrets["S_x"] = "two"
    turn = await moved(following)
    assert not turn.whole
    assert following.server.named("block/process/b")["fields"]["data"] == {"password": "two"}
    assert "two" not in repr(turn) + following.server.text()


async def test_the_board_keeps_what_a_narrow_turn_was_not_about(tmp_path):
    report = POLICY + "drift: report\n"
    following = await settled(tree(MANY, report), tree(CHANGED, report), tree(CHANGED, report))
    history, clock = History(tmp_path), ManualClock()
    board = Board(history, clock, Metrics())
    following.server.named("deployment/etl/d3")["fields"]["description"] = "by hand"

    async def shown(turn):
        await board.turn(turn, following.follower.desired, clock.now())
        return {str(one.key): one.state for one in board.standing.resources}

    following.source.snapshots.insert(0, tree(MANY, report))
    states = await shown(await following.turn())
    assert states["deployment/etl/d3"] is ResourceState.DRIFTED
    turn = await moved(following)
    assert not turn.whole
    assert turn.plan.unchanged == 28
    states = await shown(turn)
    assert len(states) == 30
    assert states["deployment/etl/d3"] is ResourceState.DRIFTED
    assert states["deployment/etl/d7"] is ResourceState.IN_SYNC
    assert {str(change.key) for change in board.standing.plan.changes} == {
        "deployment/etl/d3",
        "deployment/etl/d7",
    }
    [drift] = history.drifts()
    assert drift.end is None
    following.server.named("deployment/etl/d3")["fields"]["description"] = "old"
    assert (await shown(await following.turn()))["deployment/etl/d3"] is ResourceState.IN_SYNC
    [drift] = history.drifts()
    assert drift.end is DriftEnd.GONE
    history.close()


NAMES = st.sampled_from("abcd")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("block"), NAMES, st.integers(1, 3)),
        st.tuples(st.just("deployment"), NAMES, st.integers(1, 3), st.none() | NAMES),
        st.tuples(st.just("remove"), st.sampled_from(["block", "deployment"]), NAMES),
        st.tuples(st.just("push")),
        st.tuples(st.just("by hand"), NAMES),
    ),
    max_size=14,
)


def file_of(step):
    kind, name, value, *refers = step
    if kind == "block":
        return f"block-{name}.yaml", block(name, value=value)
    more = {"infrastructure": f"process/{refers[0]}"} if refers[0] else {}
    return f"deployment-{name}.yaml", deployment(name, f"{value}", **more)


@given(steps=STEPS)
async def test_narrow_or_whole_the_server_ends_with_the_same(steps):
    narrow, whole = Following(tree({})), Following(tree({}))
    files = {}
    for step in [*steps, ("push",)]:
        if step[0] == "push":
            for following in (narrow, whole):
                following.source.snapshots = [tree(files)]
            turn, other = await moved(narrow), await whole.turn()
            assert (turn.error is None) is (other.error is None)
        elif step[0] == "by hand":
            changed_by_hand(step[1], narrow, whole)
        else:
            edit(files, *step)
    for following in (narrow, whole):
        await following.turn()
    assert content(narrow) == content(whole)
    assert owned(narrow) == owned(whole)


def edit(files, what, *rest):
    if what == "remove":
        files.pop(f"{rest[0]}-{rest[1]}.yaml", None)
    else:
        name, text = file_of((what, *rest))
        files[name] = text


def changed_by_hand(name, *followings):
    for following in followings:
        found = following.server.named(f"deployment/etl/{name}")
        if found is not None:
            found["fields"]["description"] = "by hand"


def content(following):
    names = {one["id"]: key for key, one in things(following).items()}
    return {
        key: {
            k: names.get(v["$id"]) if isinstance(v, dict) and "$id" in v else v
            for k, v in one["fields"].items()
        }
        for key, one in things(following).items()
    }


def things(following):
    return {one["key"]: one for one in following.server.objects.values()}


def owned(following):
    return sorted(
        key
        for document in following.server.records("reconciler-inventory")
        for key in document["data"].get("entries", {})
    )
