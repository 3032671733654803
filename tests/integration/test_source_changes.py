"""Watching, and when a file counts as gone."""

import statistics
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from reconciler.errors import SourceError
from reconciler.source.changes import Absences, StableSource, _matters, changes
from tests.fakes.source import ScriptedSource, SleepingClock, snapshot_of

pytestmark = pytest.mark.anyio

BOTH = snapshot_of({"a.yaml": "a", "b.yaml": "b"})
EDITED = snapshot_of({"a.yaml": "a", "b.yaml": "c"})
WITHOUT_B = snapshot_of({"a.yaml": "a"})
WITHOUT_A = snapshot_of({"b.yaml": "b"})
EMPTY = snapshot_of({})


def stable(*snapshots):
    clock = SleepingClock()
    source = ScriptedSource(*snapshots)
    return StableSource(source, clock), clock, source


async def test_first_scan_is_taken_as_it_is():
    source, clock, _ = stable(EMPTY)
    assert await source.fetch() is EMPTY
    assert clock.elapsed == 0


async def test_edits_and_new_files_wait_for_nothing():
    source, clock, _ = stable(WITHOUT_B, BOTH, EDITED)
    for expected in (WITHOUT_B, BOTH, EDITED):
        assert await source.fetch() is expected
    assert clock.elapsed == 0


async def test_file_missing_for_a_moment_is_not_gone():
    source, clock, _ = stable(BOTH, WITHOUT_B, EDITED)
    await source.fetch()
    assert await source.fetch() is EDITED
    assert clock.elapsed < 1


async def test_file_is_gone_when_two_scans_two_seconds_apart_miss_it():
    source, clock, _ = stable(BOTH, WITHOUT_B)
    await source.fetch()
    assert await source.fetch() is WITHOUT_B
    assert clock.elapsed == 2.0


async def test_gone_file_is_forgotten_and_not_waited_for_again():
    source, clock, _ = stable(BOTH, WITHOUT_B)
    for _ in range(3):
        await source.fetch()
    assert clock.elapsed == 2.0


async def test_waiting_starts_again_for_a_file_that_came_back():
    source, clock, _ = stable(BOTH, WITHOUT_B, WITHOUT_B, WITHOUT_A, WITHOUT_B)
    await source.fetch()
    assert await source.fetch() is WITHOUT_B
    assert clock.elapsed > 2.5


async def test_files_that_flicker_for_ever_prove_no_absence():
    source, clock, script = stable(BOTH, *[WITHOUT_A, WITHOUT_B] * 40)
    await source.fetch()
    snapshot = await source.fetch()
    assert not snapshot.verified
    assert snapshot.revision == WITHOUT_A.revision
    assert clock.elapsed < 11
    script.snapshots = [EDITED]
    assert (await source.fetch()).verified


async def test_errors_of_the_source_pass_through_and_forget_nothing():
    source, clock, _ = stable(BOTH, SourceError("broken"), WITHOUT_B)
    await source.fetch()
    with pytest.raises(SourceError):
        await source.fetch()
    assert await source.fetch() is WITHOUT_B
    assert clock.elapsed == 2.0


async def test_absences_of_a_file_never_known_do_not_count():
    absences = Absences({"a"})
    assert absences.look({"a", "x"}, now=0.0)
    assert absences.look({"a"}, now=1.0)
    assert not absences.look(set(), now=5.0)
    assert not absences.look(set(), now=6.9)
    assert absences.look(set(), now=7.0)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("a.yaml", True),
        (".reconcilerignore", True),
        ("flows/etl.py", True),
        (".git/index", False),
        (".reconciler/state/x", False),
        ("flows/__pycache__/etl.pyc", False),
        ("web/node_modules/x/y.js", False),
    ],
)
async def test_dot_folders_and_caches_make_no_noise(changed, expected):
    assert _matters(Path("/root/tree") / changed, Path("/root/tree")) is expected


async def test_nothing_outside_the_directory_matters():
    assert not _matters(Path("/elsewhere/a.yaml"), Path("/root/tree"))


async def test_hidden_root_is_watched_all_the_same():
    assert _matters(Path("/home/.config/tree/a.yaml"), Path("/home/.config/tree"))


@asynccontextmanager
async def watched(path):
    """Give a list that grows with every signal, once the watch has begun."""
    told = []

    async def count():
        async for _ in changes(path):
            told.append(1)  # noqa: PERF401 - others look at the list meanwhile

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(count)
            while not told:
                (path / "probe.yaml").write_text("x")
                await anyio.sleep(0.1)
            await anyio.sleep(0.5)
            told.clear()
            yield told
            group.cancel_scope.cancel()


TRIES = 5
"""What is late or apart once may be the machine's doing; what mostly is, is ours."""


async def quiet(told):
    """Wait until nothing is told any more, and forget what was."""
    before = -1
    while before != len(told):
        before = len(told)
        await anyio.sleep(0.3)
    told.clear()


async def test_change_is_told_within_a_second(tmp_path):
    waits = []
    async with watched(tmp_path) as told:
        for turn in range(TRIES):
            await quiet(told)
            (tmp_path / f"{turn}.yaml").write_text("a")
            began = anyio.current_time()
            while not told:
                await anyio.sleep(0.02)
            waits.append(anyio.current_time() - began)
    assert statistics.median(waits) < 1, waits


async def test_burst_is_one_signal(tmp_path):
    signals = []
    async with watched(tmp_path) as told:
        for turn in range(TRIES):
            await quiet(told)
            for number in range(200):
                (tmp_path / f"{turn}-{number}.yaml").write_text("a")
            await anyio.sleep(1)
            signals.append(len(told))
    assert min(signals) >= 1, signals
    assert statistics.median(signals) <= 2, signals


async def test_directory_that_is_replaced_is_watched_on(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    async with watched(tree) as told:
        tree.rename(tmp_path / "old")
        tree.mkdir()
        while not told:
            await anyio.sleep(0.05)
        told.clear()
        while not told:
            (tree / "new.yaml").write_text("a")
            await anyio.sleep(0.1)


async def test_directory_that_is_gone_cannot_be_watched(tmp_path):
    with pytest.raises(SourceError, match="can't be watched"):
        async for _ in changes(tmp_path / "gone"):
            pass
