"""Carrying out: partial failure, lost answers, races, and a report that is right about them."""

import anyio
import pytest

from reconciler.engine.apply import apply, held
from reconciler.errors import AnswerLost, Refused, StalePlan
from reconciler.model.desired import Options
from reconciler.model.keys import Key
from reconciler.model.plan import Action
from reconciler.model.report import Result
from reconciler.model.values import MASKED, Ref, Secret
from tests.fakes.bench import BLOCK, DEPLOYMENT, Bench, FreeLease, declare, tree

pytestmark = pytest.mark.anyio

OTHER = Key.of("block", "process", "other")


def posts(key, answer):
    """Let the create of one object end so."""

    def fault(request):
        wanted = request.path == "/things/" and request.body["key"] == str(key)
        return answer if wanted else None

    return fault


def once(fault):
    """Let a fault happen the first time only."""
    spent = []

    def first(request):
        answer = None if spent else fault(request)
        if answer:
            spent.append(answer)
        return answer

    return first


async def test_a_failure_skips_only_what_depends_on_it():
    bench = Bench()
    desired = tree(
        declare(BLOCK, data={}),
        declare(OTHER, data={}),
        declare(DEPLOYMENT, infrastructure=Ref(BLOCK)),
    )
    report = await bench.apply(desired, posts(BLOCK, "503"))
    assert report.of(BLOCK).result is Result.FAILED
    assert "503" in report.of(BLOCK).error
    assert report.of(OTHER).result is Result.DONE
    assert report.of(DEPLOYMENT).result is Result.SKIPPED
    assert f"{BLOCK}, which failed" in report.of(DEPLOYMENT).error
    assert not report.converged
    assert (await bench.apply(desired)).converged
    assert (await bench.plan(desired)).empty


async def test_a_lost_answer_to_a_create_is_looked_up_and_nothing_is_doubled():
    bench = Bench()
    desired = tree(declare(BLOCK, data={}))
    assert (await bench.apply(desired, posts(BLOCK, "lost"))).converged
    assert len(bench.server.objects) == 1
    assert (await bench.plan(desired)).empty


async def test_a_create_that_did_not_arrive_is_sent_again():
    bench = Bench()

    def unsent(request):
        if posts(BLOCK, "x")(request):
            bench.server.log.append(request)
            raise AnswerLost("no answer")

    report = await bench.apply(tree(declare(BLOCK, data={})), once_raising(unsent))
    assert report.converged
    assert len(bench.server.objects) == 1


def once_raising(fault):
    spent = []

    def first(request):
        if spent:
            return None
        try:
            return fault(request)
        except Exception:
            spent.append(1)
            raise

    return first


async def test_a_create_whose_answers_stay_lost_fails_and_its_intent_stays():
    bench = Bench()

    def never(request):
        if request.path == "/things/":
            raise AnswerLost("no answer")

    desired = tree(declare(BLOCK, data={}))
    report = await bench.apply(desired, never)
    assert report.of(BLOCK).result is Result.FAILED
    assert len(bench.clock.slept) == 7
    assert (await bench.entries())[BLOCK].id is None
    bench.server.put(str(BLOCK), {"data": {}})  # it arrived at last
    change = (await bench.plan(desired)).changes[0]
    assert (change.action, change.fields) == (Action.UPDATE, ())
    assert "interrupted" in change.reason
    assert (await bench.apply(desired)).converged
    assert (await bench.plan(desired)).empty


async def test_what_somebody_else_created_meanwhile_is_a_conflict_and_not_ours():
    bench = Bench()
    desired = tree(declare(BLOCK, data={}))

    def race(request):
        if posts(BLOCK, "x")(request):
            bench.server.put(str(BLOCK), {"data": {"theirs": 1}})

    report = await bench.apply(desired, race)
    assert report.of(BLOCK).result is Result.FAILED
    assert "exists" in report.of(BLOCK).error
    assert await bench.entries() == {}
    change = (await bench.plan(desired)).changes[0]
    assert (change.action, change.wanted) == (Action.BLOCKED, Action.ADOPT)


async def test_an_old_object_is_never_taken_for_one_that_an_intent_made():
    bench = Bench()
    desired = tree(declare(BLOCK, data={}))
    await bench.apply(desired, posts(BLOCK, "503"))
    assert (await bench.entries())[BLOCK].id is None
    bench.server.put(str(BLOCK), {"data": {"theirs": 1}})
    bench.server.named(str(BLOCK))["created"] = "2025-01-01T00:00:00+00:00"
    assert (await bench.plan(desired)).changes[0].action is Action.BLOCKED
    plan = await bench.plan(tree(declare(OTHER, data={})))
    gone = next(c for c in plan.changes if c.key == BLOCK)
    assert (gone.action, gone.id) == (Action.DELETE, None)


async def test_an_update_of_what_was_deleted_meanwhile_fails_with_the_way_on():
    bench = Bench()
    await bench.apply(tree(declare(DEPLOYMENT, tags=["a"])))
    desired = tree(declare(DEPLOYMENT, tags=["b"]))
    plan, *rest = await bench.look(desired)
    bench.server.objects.clear()
    report = await apply(plan, *rest, FreeLease())
    assert "the next run creates it" in report.of(DEPLOYMENT).error
    assert (await bench.apply(desired)).converged


async def test_a_delete_of_what_was_deleted_meanwhile_is_done():
    bench = Bench()
    await bench.apply(tree(declare(BLOCK, data={}), declare(DEPLOYMENT, tags=[])))
    plan, *rest = await bench.look(tree(declare(BLOCK, data={})))
    bench.server.objects = {i: o for i, o in bench.server.objects.items() if o["kind"] == "block"}
    assert (await apply(plan, *rest, FreeLease())).converged
    assert set(await bench.entries()) == {BLOCK}


async def test_an_update_whose_answer_was_lost_is_done_if_it_reads_so():
    bench = Bench()
    await bench.apply(tree(declare(DEPLOYMENT, tags=["a"])))
    desired = tree(declare(DEPLOYMENT, tags=["b"]))

    def answered_late(request):
        if request.method == "PATCH" and "/things/" in request.path:
            bench.server.named(str(DEPLOYMENT))["fields"]["tags"] = ["b"]
            return "503"
        return None

    report = await bench.apply(desired, answered_late)
    assert report.converged
    assert (await bench.plan(desired)).empty


async def test_an_update_that_did_not_get_through_is_a_failure():
    bench = Bench()
    await bench.apply(tree(declare(DEPLOYMENT, tags=["a"])))
    desired = tree(declare(DEPLOYMENT, tags=["b"]))
    report = await bench.apply(
        desired, lambda r: "503" if r.method == "PATCH" and "/things/" in r.path else None
    )
    assert report.of(DEPLOYMENT).result is Result.FAILED
    assert (await bench.apply(desired)).converged


async def test_a_field_that_the_server_does_not_keep_is_reported_with_the_likely_reason():
    bench = Bench()
    bench.server.drops = {"description"}
    desired = tree(declare(DEPLOYMENT, description="x", tags=[]))
    report = await bench.apply(desired)
    outcome = report.of(DEPLOYMENT)
    assert [f.path for f in outcome.remaining] == ["description"]
    assert outcome.remaining[0].held == "the server did not keep it"
    assert not report.converged
    for _ in range(3):
        await bench.apply(desired)
    assert (await bench.plan(desired)).changes[0].action is Action.BLOCKED  # no endless fight


async def test_what_vanishes_right_after_its_write_is_a_failure():
    bench = Bench()

    def gone(request):
        if request.method == "GET" and request.path.startswith("/things/"):
            bench.server.objects.clear()

    report = await bench.apply(tree(declare(BLOCK, data={})), gone)
    assert "right after it was written" in report.of(BLOCK).error


async def test_reading_back_that_fails_takes_nothing_away():
    bench = Bench()
    desired = tree(declare(BLOCK, data={}))

    def unread(request):
        return "503" if request.method == "GET" and request.path.startswith("/things/") else None

    assert (await bench.apply(desired, unread)).of(BLOCK).result is Result.DONE
    assert (await bench.plan(desired)).empty


async def test_many_objects_are_read_back_by_one_listing():
    bench = Bench()
    keys = [Key.of("block", "process", f"b{n}") for n in range(30)]
    report = await bench.apply(tree(*(declare(key, data={"n": 1}) for key in keys)))
    assert report.converged
    assert not [r for r in bench.server.log if r.method == "GET" and r.path.startswith("/things/")]


async def test_of_very_many_objects_some_are_read_back_by_id():
    """A listing of all costs more than thirty reads, once there are hundreds."""
    bench = Bench()
    keys = [Key.of("block", "process", f"b{n:03}") for n in range(300)]

    def declared(changed):
        return tree(*(declare(key, data={"n": n < changed}) for n, key in enumerate(keys)))

    await bench.apply(declared(0))
    bench.server.log.clear()
    assert (await bench.apply(declared(30))).converged
    reads = [r for r in bench.server.log if r.method == "GET" and r.path.startswith("/things/")]
    assert len(reads) == 30


async def test_an_inventory_that_can_not_be_written_stops_before_anything_is_created():
    bench = Bench()
    report = await bench.apply(
        tree(declare(BLOCK, data={})),
        lambda r: "503" if r.path == "/block_documents/" else None,
    )
    assert "503" in report.error
    assert report.of(BLOCK).result is Result.SKIPPED
    assert bench.server.objects == {}


async def test_an_inventory_that_can_not_be_written_afterwards_is_made_good_by_the_next_run():
    bench = Bench()
    desired = tree(declare(BLOCK, data={"a": 1}), declare(OTHER, data={}))
    report = await bench.apply(
        desired,
        lambda r: "503" if r.method == "PATCH" and "/block_documents/" in r.path else None,
    )
    assert report.error
    assert report.of(BLOCK).result is Result.DONE
    assert not report.converged
    assert (await bench.apply(desired)).converged
    assert len(bench.server.objects) == 2
    assert (await bench.plan(desired)).empty


async def test_a_plan_is_stale_when_another_apply_came_between():
    bench = Bench()
    desired = tree(declare(BLOCK, data={}))
    plan, *rest = await bench.look(desired)
    await bench.apply(tree(declare(OTHER, data={})))
    with pytest.raises(StalePlan):
        await apply(plan, *rest, FreeLease())
    assert len(bench.server.objects) == 1


async def test_two_applies_one_after_the_other_lose_no_entry():
    bench = Bench()
    keys = [Key.of("block", "process", f"b{n}") for n in range(40)]
    await bench.apply(tree(*(declare(key, data={}) for key in keys[:20])))
    await bench.apply(tree(*(declare(key, data={}) for key in keys)))
    assert set(await bench.entries()) == set(keys)


async def test_without_the_lease_nothing_is_written():
    bench = Bench()
    lease = FreeLease()
    lease.lost = True
    report = await bench.apply(tree(declare(BLOCK, data={})), lease=lease)
    assert "lost" in report.error
    assert bench.writes() == []


async def test_a_lease_lost_between_two_levels_leaves_a_report_that_is_right():
    bench, lease = Bench(), FreeLease()
    desired = tree(declare(BLOCK, data={}), declare(DEPLOYMENT, infrastructure=Ref(BLOCK)))

    def lose(request):
        if request.path == "/things/" and request.body["key"] == str(DEPLOYMENT):
            lease.lose()

    report = await bench.apply(desired, lose, lease=lease)
    assert report.of(BLOCK).result is Result.DONE
    assert report.of(DEPLOYMENT).result is Result.DONE  # though nobody could write it down
    assert "lost" in report.error
    assert not report.converged
    assert (await bench.apply(desired)).converged
    assert (await bench.plan(desired)).empty


class SlowLease(FreeLease):
    """Of a server that says nothing any more once the intents are written."""

    spare = 0.1
    asked = 0

    async def confirm(self):
        self.asked += 1
        if self.asked > 1:
            await anyio.sleep_forever()


async def test_the_last_words_of_an_apply_end_before_another_may_hold_its_lease():
    bench = Bench()
    began = anyio.current_time()
    await bench.apply(tree(declare(BLOCK, data={})), lease=SlowLease())
    assert anyio.current_time() - began < 10, "they are shielded, so nothing else ends them"
    assert (await bench.entries())[BLOCK].id is None
    assert (await bench.apply(tree(declare(BLOCK, data={})))).converged


async def test_an_interrupted_apply_still_remembers_what_it_created():
    bench = Bench()
    desired = tree(declare(BLOCK, data={"a": 1}), declare(OTHER, data={}))
    plan, desired, observed, access = await bench.look(desired)
    real = access.kinds["block"]

    class Hanging:
        def __getattr__(self, name):
            return getattr(real, name)

        async def create(self, session, key, fields):
            written = await real.create(session, key, fields)
            if key == OTHER:
                await anyio.sleep_forever()
            return written

    kinds = {**access.kinds, "block": Hanging()}
    access = type(access)(access.session, kinds, access.store, access.clock)
    with anyio.move_on_after(0.2) as scope:
        await apply(plan, desired, observed, access, FreeLease())
    assert scope.cancelled_caught
    entries = await bench.entries()
    assert entries[BLOCK].id is not None
    assert entries[OTHER].id is None
    assert (await bench.apply(desired)).converged
    assert len(bench.server.objects) == 2
    assert (await bench.plan(desired)).empty


async def test_a_bug_in_a_kind_fails_one_change_and_quotes_no_value():
    bench = Bench()
    desired = tree(declare(BLOCK, data={}), declare(OTHER, data={}))
    plan, desired, observed, access = await bench.look(desired)
    real = access.kinds["block"]

    class Broken:
        def __getattr__(self, name):
            return getattr(real, name)

        async def create(self, session, key, fields):
            if key == BLOCK:
                raise ValueError("canary-secret is no number")
            return await real.create(session, key, fields)

    kinds = {**access.kinds, "block": Broken()}
    access = type(access)(access.session, kinds, access.store, access.clock)
    report = await apply(plan, desired, observed, access, FreeLease())
    assert "ValueError" in report.of(BLOCK).error
    assert "canary" not in report.of(BLOCK).error
    assert report.of(OTHER).result is Result.DONE


async def test_a_plan_made_without_secrets_is_not_applied():
    bench = Bench()
    desired = tree(declare(BLOCK, data={"password": MASKED}), secrets_read=False)
    with pytest.raises(Refused):
        await bench.apply(desired, secrets=False)


async def test_progress_hears_of_every_end_and_held_changes_are_outcomes():
    bench, heard = Bench(), []
    bench.server.put(str(OTHER), {"data": {"x": 1}})
    desired = tree(declare(BLOCK, data={}), declare(OTHER, data={}))
    plan, *rest = await bench.look(desired)
    report = await apply(plan, *rest, FreeLease(), heard.append)
    assert [o.change.key for o in heard] == [BLOCK]
    assert report.of(OTHER).result is Result.HELD
    assert report.converged
    rest = await bench.plan(desired)
    assert [o.result for o in held(rest).outcomes] == [Result.HELD]


async def test_the_next_level_sees_the_ids_of_the_one_before():
    bench = Bench()
    await bench.apply(tree(declare(BLOCK, data={}), declare(DEPLOYMENT, infrastructure=Ref(BLOCK))))
    block = bench.server.named(str(BLOCK))["id"]
    assert bench.server.named(str(DEPLOYMENT))["fields"]["infrastructure"] == {"$id": block}


async def test_adoption_that_is_allowed_writes_the_secret_too():
    bench = Bench()
    bench.server.put(str(BLOCK), {"data": {"password": "theirs-theirs"}})
    declaration = declare(
        BLOCK, options=Options(adopt=True), data={"password": Secret("canary-one")}
    )
    assert (await bench.apply(tree(declaration))).converged
    assert bench.server.named(str(BLOCK))["fields"]["data"]["password"] == "canary-one"
