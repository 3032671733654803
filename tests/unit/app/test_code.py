"""Flow code for the agent: what was applied last, for as long as a run needs it."""

import errno

import pytest

from reconciler.app.code import AppliedCode, FollowedCode
from reconciler.errors import SourceError, SourceUnavailable
from reconciler.source.checkouts import Checkouts
from tests.fakes.clock import VirtualClock
from tests.fakes.source import ScriptedSource, snapshot_of

pytestmark = pytest.mark.anyio
ONE = snapshot_of({"flow.py": "print(1)"}, revision="1" * 40)
TWO = snapshot_of({"flow.py": "print(2)"}, revision="2" * 40)
THREE = snapshot_of({"flow.py": "print(3)"}, revision="3" * 40)


@pytest.fixture(params=[False, True], ids=["at once", "on demand"])
def on_demand(request):
    return request.param


async def test_nothing_is_served_before_the_first_apply_and_then_the_last_one(tmp_path, on_demand):
    code = AppliedCode(Checkouts(tmp_path), on_demand=on_demand)
    assert await code.checkout() is None
    for snapshot, text in ((ONE, "print(1)"), (TWO, "print(2)")):
        await code.applied(snapshot)
        served = await code.checkout()
        assert served.revision == snapshot.revision
        assert (served.path / "flow.py").read_text() == text


async def test_a_checkout_stays_while_a_run_needs_it_and_goes_after(tmp_path, on_demand):
    code = AppliedCode(Checkouts(tmp_path), on_demand=on_demand)

    async def served(snapshot):
        await code.applied(snapshot)
        return (await code.checkout()).path

    first = await served(ONE)
    code.in_use(frozenset({first}))
    await served(TWO)
    assert first.exists()
    code.in_use(frozenset())
    await served(THREE)
    assert not first.exists()


async def test_on_demand_no_file_is_written_before_a_run_needs_it(tmp_path):
    made = []

    class Counted(Checkouts):
        async def of(self, snapshot):
            made.append(snapshot.revision)
            return await super().of(snapshot)

    code = AppliedCode(Counted(tmp_path), on_demand=True)
    for snapshot in (ONE, TWO):
        await code.applied(snapshot)
    assert made == []
    assert (await code.checkout()).revision == TWO.revision
    await code.checkout()
    assert made == [TWO.revision]


async def test_on_demand_a_checkout_that_somebody_removed_is_made_again(tmp_path):
    code = AppliedCode(Checkouts(tmp_path), on_demand=True)
    await code.applied(ONE)
    path = (await code.checkout()).path
    path.rename(path.with_name("away"))
    assert ((await code.checkout()).path / "flow.py").exists()


async def test_a_disk_that_refuses_is_an_error_with_a_way_out(tmp_path):
    class FullDisk(Checkouts):
        async def of(self, snapshot):
            raise OSError(errno.ENOSPC, "No space left on device")

    code = AppliedCode(FullDisk(tmp_path))
    late = AppliedCode(FullDisk(tmp_path), on_demand=True)
    await late.applied(ONE)
    with pytest.raises(SourceUnavailable, match="checked out: No space left"):
        await late.checkout()
    with pytest.raises(SourceUnavailable, match="checked out: No space left") as caught:
        await code.applied(ONE)
    assert "RECONCILER_STATE_DIR" in caught.value.hint
    assert await code.checkout() is None


async def test_a_followed_source_is_asked_now_and_then_and_served_while_it_is_away(tmp_path):
    clock = VirtualClock()
    away = SourceUnavailable("the remote does not answer")
    source = ScriptedSource(ONE, away, TWO)
    code = FollowedCode(source, Checkouts(tmp_path), clock)
    assert (await code.checkout()).revision == ONE.revision
    assert (await code.checkout()).revision == ONE.revision
    assert source.fetches == 1, "it was asked a moment ago"
    clock.advance(10)
    assert (await code.checkout()).revision == ONE.revision
    code.in_use(frozenset())
    clock.advance(10)
    assert (await code.checkout()).revision == TWO.revision


@pytest.mark.parametrize("error", [SourceUnavailable("away"), SourceError("no such ref")])
async def test_without_any_code_the_error_is_the_claims(tmp_path, error):
    code = FollowedCode(ScriptedSource(error), Checkouts(tmp_path), VirtualClock())
    with pytest.raises(type(error)):
        await code.checkout()
