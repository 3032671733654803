"""An object is the one that its id says, whoever bears its name: renamed by hand, taken over, half made."""

import pytest

from reconciler.engine.apply import apply
from reconciler.engine.plan import PlanOptions
from reconciler.errors import ForeignInventory, Rejected, Unauthorised
from reconciler.kinds.base import Written
from reconciler.model.keys import Key
from reconciler.model.plan import Action
from reconciler.model.report import Result
from reconciler.model.snapshot import Origin
from tests.fakes.bench import BLOCK, Bench, FreeLease, declare, tree
from tests.fakes.kinds import MemoryBlock, MemoryDeployment

pytestmark = pytest.mark.anyio

NEW = Key.of("block", "process", "new")
REST = declare(Key.of("block", "process", "rest"), data={})


async def applied(*declarations):
    bench = Bench()
    assert (await bench.apply(tree(REST, *declarations))).converged
    return bench


def ids(bench):
    return {one["key"]: one["id"] for one in bench.server.objects.values()}


@pytest.mark.parametrize("more", [{}, {"a": "2"}], ids=["equal", "changed"])
async def test_what_bears_its_new_name_already_is_not_deleted_by_its_old_one(more):
    """As a rename leaves it whose process died, and git took back `previous_name`."""
    bench = await applied(declare(BLOCK, data={}))
    thing = bench.server.named(str(BLOCK))
    thing["key"] = str(NEW)
    desired = tree(REST, declare(NEW, data=more))
    plan = await bench.plan(desired)
    assert [(c.key, c.action, c.id) for c in plan.changes] == [(NEW, Action.UPDATE, thing["id"])]
    assert (await bench.apply(desired)).converged
    assert ids(bench)[str(NEW)] == thing["id"]
    entries = await bench.entries()
    assert (entries[NEW].id, BLOCK in entries) == (thing["id"], False)
    assert (await bench.plan(desired)).empty


async def test_what_git_declares_under_another_name_is_never_deleted():
    """Ours was deleted by hand, and another one of ours renamed to its name."""
    bench = await applied(declare(BLOCK, data={}), declare(NEW, data={"a": "1"}))
    del bench.server.objects[bench.server.named(str(NEW))["id"]]
    thing = bench.server.named(str(BLOCK))
    thing["key"] = str(NEW)
    plan = await bench.plan(tree(REST, declare(NEW, data={"a": "1"})))
    held = {c.key: c for c in plan.changes}[BLOCK]
    assert (held.action, held.wanted) == (Action.BLOCKED, Action.DELETE)
    assert f"it is {NEW} now" in held.reason


async def test_a_delete_is_of_what_is_owned_not_of_what_bears_its_name():
    bench = await applied(declare(BLOCK, data={}))
    ours = bench.server.named(str(BLOCK))
    ours["key"] = f"{BLOCK}-by-hand"
    theirs = bench.server.put(str(BLOCK), {"data": {"theirs": "1"}})
    assert (await bench.apply(tree(REST))).converged
    assert theirs["id"] in bench.server.objects
    assert ours["id"] not in bench.server.objects
    assert (await bench.plan(tree(REST))).empty


async def test_an_inventory_that_somebody_took_over_meanwhile_is_left_to_him():
    bench = await applied(declare(BLOCK, data={}))
    plan, desired, observed, access = await bench.look(tree(REST), PlanOptions())
    theirs = tree(REST, declare(BLOCK, data={}), origin=Origin(("elsewhere",), ""))
    _, _, _, other = await bench.look(theirs, PlanOptions(take_over=True))
    await other.store.claim()
    bench.writes()
    with pytest.raises(ForeignInventory):
        await apply(plan, desired, observed, access, FreeLease())
    assert bench.writes() == []


async def test_a_create_that_is_refused_after_its_answer_was_lost_keeps_its_intent():
    bench, spent = Bench(), []

    def fault(request):
        if request.path == "/things/" and not spent:
            spent.append(request)
            return "lost"
        if spent and request.path.startswith("/things/named/"):
            raise Unauthorised("401, by a gateway that was restarted")
        return None

    desired = tree(declare(BLOCK, data={}))
    report = await bench.apply(desired, fault)
    assert report.of(BLOCK).result is Result.FAILED
    assert (await bench.entries())[BLOCK].id is None
    [change] = (await bench.plan(desired)).changes
    assert "interrupted apply had created it" in change.reason
    assert (await bench.apply(desired)).converged
    assert (await bench.plan(desired)).empty


class InTwoParts(MemoryBlock):
    """Refuses the second request of a create."""

    refuses = True

    async def create(self, session, key, fields) -> Written:
        made = await super().create(session, key, fields)
        session.index.add(key, made.id)
        if self.refuses:
            raise Rejected("its schema is refused", status=403)
        return made


async def test_a_create_whose_second_half_is_refused_keeps_its_intent():
    kind = InTwoParts()
    bench = Bench(kinds=(kind, MemoryDeployment()))
    desired = tree(declare(BLOCK, data={"a": "1"}))
    report = await bench.apply(desired)
    assert report.of(BLOCK).result is Result.FAILED
    assert BLOCK in await bench.entries()
    kind.refuses = False
    bench.server.named(str(BLOCK))["fields"] = {}  # what the second half would have written
    report = await bench.apply(desired)
    assert report.converged, report.to_json()
    assert report.of(BLOCK).change.action is Action.UPDATE


class Taken(MemoryBlock):
    """Somebody else makes the object just before we do, and the API answers with his."""

    def __init__(self, server):
        self.server = server

    async def create(self, session, key, fields) -> Written:
        theirs = self.server.put(str(key), {"data": {"theirs": "1"}})
        theirs["created"] = "2020-01-01T00:00:00+00:00"
        session.index.add(key, theirs["id"])
        return Written(theirs["id"], existed=True)


async def test_somebody_elses_object_is_not_taken_for_a_create_that_was_made():
    bench = Bench()
    bench.kinds = (Taken(bench.server), MemoryDeployment())
    report = await bench.apply(tree(declare(BLOCK, data={})))
    assert "somebody else created it" in report.of(BLOCK).error
    assert BLOCK not in await bench.entries()
