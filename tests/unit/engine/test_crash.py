"""A process killed at any request leaves nothing orphaned, doubled or forgotten."""

import pytest

from reconciler.engine.lease import TTL
from reconciler.model.inventory import SHARDS
from reconciler.model.values import Ref, Secret
from tests.fakes.bench import BLOCK, DEPLOYMENT, Bench, declare, tree
from tests.fakes.prefect_memory import Killed, kill_at

pytestmark = pytest.mark.anyio

OTHER = type(BLOCK).of("block", "process", "other")
OLD = type(BLOCK).of("deployment", "etl", "old")

BEFORE = tree(
    declare(OTHER, data={"env": {"A": "1"}}),
    declare(OLD, infrastructure=Ref(OTHER), tags=["x"]),
    declare(DEPLOYMENT, tags=["x"]),
)
AFTER = tree(
    declare(BLOCK, data={"env": {"A": "1"}, "password": Secret("canary-canary")}),
    declare(DEPLOYMENT, tags=["y"], infrastructure=Ref(BLOCK)),
)


async def finished(bench, desired):
    """Nothing is left to do, and server, git and inventory agree."""
    assert (await bench.plan(desired)).empty
    assert {o["key"] for o in bench.server.objects.values()} == {
        str(key) for key in desired.declarations
    }
    assert len(bench.server.objects) == len(desired.declarations)
    assert not [o for o in bench.server.objects.values() if o.get("emptied")]
    entries = await bench.entries()
    assert {str(e.key): e.id for e in entries.values()} == {
        o["key"]: o["id"] for o in bench.server.objects.values()
    }


def died(error):
    """A kill may come wrapped by the task groups that it passes."""
    if isinstance(error, Killed):
        return True
    return isinstance(error, BaseExceptionGroup) and all(map(died, error.exceptions))


async def killed(call):
    """Whether the call was killed."""
    try:
        await call
    except BaseException as error:
        if not died(error):
            raise
        return True
    return False


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("start", ["empty server", "applied before", "applied and to be spread"])
async def test_killed_at_any_request_the_next_apply_converges(moment, start):
    deaths = 0
    for number in range(1, 200):
        bench = Bench()
        if start != "empty server":
            await bench.apply(BEFORE)
        if start == "applied and to be spread":
            for record in bench.server.records("reconciler-inventory"):
                record["data"]["shards"] = SHARDS
        if not await killed(bench.apply(AFTER, kill_at(number, moment))):
            break
        deaths += 1
        report = await bench.apply(AFTER)
        assert report.converged, number
        await finished(bench, AFTER)
    assert deaths > 10


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_killed_and_then_taken_out_of_git_nothing_stays_behind(moment):
    nothing = tree(declare(OTHER, data={}))
    for number in range(1, 200):
        bench = Bench()
        if not await killed(bench.apply(AFTER, kill_at(number, moment))):
            break
        await bench.apply(nothing)
        await finished(bench, nothing)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_killed_with_the_lease_held_the_next_one_waits_and_takes_it(moment):
    for number in range(1, 200):
        bench = Bench()
        if not await killed(bench.apply_with_lease(AFTER, kill_at(number, moment))):
            break
        bench.server.tick(TTL + 1)
        report = await bench.apply_with_lease(AFTER)
        assert report.converged
        await finished(bench, AFTER)
        assert not report.outcomes or not bench.server.records("reconciler-lease")


async def test_two_kills_in_a_row_are_survived_too():
    for first in range(3, 14):
        for second in range(3, 14):
            bench = Bench()
            await killed(bench.apply(AFTER, kill_at(first, "after")))
            await killed(bench.apply(AFTER, kill_at(second, "before")))
            assert (await bench.apply(AFTER)).converged
            await finished(bench, AFTER)
