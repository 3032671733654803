"""Following a source: a revision is taken whole or not at all, and the last good one stays in force."""

import pytest

from reconciler.errors import InvalidManifests, Overloaded, SourceUnavailable, StaleRevision
from reconciler.model.keys import Key
from tests.fakes.following import Following, revision

pytestmark = pytest.mark.anyio

GOOD = revision("description: good", "1")
BETTER = revision("description: better", "2")
UNFIT = revision("unsupported: 1", "3")
BROKEN = revision("description: [", "4")


async def test_a_good_revision_is_applied_and_its_flow_code_served():
    following = Following(GOOD, BETTER)
    first, second = await following.turn(), await following.turn()
    assert first.report.converged
    assert first.fresh
    assert second.fresh
    assert following.live == "better"
    assert following.served == ["1", "2"]
    assert not (await following.turn()).fresh


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (BROKEN, InvalidManifests),
        (UNFIT, InvalidManifests),
        (SourceUnavailable("the remote is away"), SourceUnavailable),
    ],
)
async def test_beside_a_bad_revision_the_last_good_one_is_healed_to_and_its_code_served(bad, error):
    following = Following(GOOD, bad)
    await following.turn()
    following.live = "by hand"
    turn = await following.turn()
    assert isinstance(turn.error, error)
    assert turn.report.converged
    assert not turn.fresh
    assert following.live == "good"
    assert following.served == ["1", "1"]
    assert following.follower.desired.revision == GOOD.revision


@pytest.mark.parametrize("bad", [BROKEN, UNFIT])
async def test_a_bad_first_revision_does_nothing_and_serves_nothing(bad):
    following = Following(bad)
    turn = await following.turn()
    assert turn.report is None
    assert isinstance(turn.error, InvalidManifests)
    assert following.served == []
    assert not following.server.objects


async def test_a_server_that_does_not_answer_is_an_error_of_the_turn():
    down = []
    following = Following(GOOD, fault=lambda _: "503" if down else None)
    await following.turn()
    down.append(True)
    turn = await following.turn()
    assert turn.report is None
    assert isinstance(turn.error, Overloaded)


async def test_while_suspended_turns_look_and_write_nothing():
    following = Following(GOOD, BETTER)
    await following.turn()
    following.follower.suspended = True
    turn = await following.turn()
    assert turn.report is None
    assert turn.error is None
    assert [str(change.key) for change in turn.plan.changes] == ["deployment/etl/nightly"]
    assert following.live == "good"
    following.follower.suspended = False
    await following.turn()
    assert following.live == "better"


async def test_a_resource_is_healed_once_when_that_is_wished_for_whatever_its_policy():
    following = Following(revision("description: good", "1", "name: prod\ndrift: report\n"))
    await following.turn()
    following.live = "by hand"
    await following.turn()
    assert following.live == "by hand"
    following.follower.heal(Key.of("deployment", "etl", "nightly"))
    turn = await following.turn()
    assert turn.report.converged
    assert following.live == "good"
    following.live = "again"
    await following.turn()
    assert following.live == "again"


async def test_the_wish_to_heal_waits_for_a_turn_that_can_write():
    down = []
    policy = "name: prod\ndrift: report\n"
    following = Following(
        revision("description: good", "1", policy), fault=lambda _: "503" if down else None
    )
    await following.turn()
    following.live = "by hand"
    following.follower.heal(Key.of("deployment", "etl", "nightly"))
    down.append(True)
    await following.turn()
    down.clear()
    await following.turn()
    assert following.live == "good"


async def test_nothing_is_written_without_a_permit_and_the_next_turn_asks_again():
    asked = []

    async def permit(plan):
        asked.append((plan.revision, plan.only_heals))
        if len(asked) == 1:
            raise StaleRevision("the ref moved")

    following = Following(GOOD, permit=permit)
    turn = await following.turn()
    assert isinstance(turn.error, StaleRevision)
    assert not turn.settled
    assert not [one for one in following.server.objects.values() if "fields" in one]
    assert (await following.turn()).settled
    following.live = "by hand"
    await following.turn()
    assert following.live == "good"
    assert asked == [(GOOD.revision, False), (GOOD.revision, False), (GOOD.revision, True)]


async def test_without_a_difference_no_permit_is_asked_for():
    async def permit(plan):
        asked.append(plan)

    asked = []
    following = Following(GOOD, permit=permit)
    await following.turn()
    await following.turn()
    assert len(asked) == 1
