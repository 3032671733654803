"""Immutable checkouts."""

import os
import stat
import threading
from dataclasses import replace

import anyio
import pytest

from reconciler.errors import SourceError
from reconciler.source.checkouts import Checkouts
from reconciler.source.folders import state_folder
from tests.fakes.source import MemoryContents, snapshot_of

pytestmark = pytest.mark.anyio

FILES = {"a.yaml": "a", "flows/etl.py": "print(1)", "flows/deep/run.sh": "#!", "ü\n.bin": b"\xff\0"}


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def folders(state):
    return sorted(path.name for path in (state / "checkouts").iterdir() if path.is_dir())


async def test_checkout_holds_all_files_read_only(tmp_path):
    snapshot = snapshot_of(FILES, executable={"flows/deep/run.sh"})
    checkout = await Checkouts(tmp_path).of(snapshot)
    assert checkout.revision == snapshot.revision
    assert checkout.digest == snapshot.digest
    for name, content in FILES.items():
        raw = content.encode() if isinstance(content, str) else content
        assert (checkout.path / name).read_bytes() == raw
    assert mode(checkout.path / "a.yaml") == 0o444
    assert mode(checkout.path / "flows/deep/run.sh") == 0o555
    for folder in (checkout.path, checkout.path / "flows", checkout.path / "flows/deep"):
        assert mode(folder) == 0o555


async def test_same_content_shares_a_checkout_whatever_the_commit(tmp_path):
    checkouts = Checkouts(tmp_path)
    first = await checkouts.of(snapshot_of(FILES, revision="1" * 40))
    inode = first.path.stat().st_ino
    second = await checkouts.of(snapshot_of(FILES, revision="2" * 40))
    assert (second.path, second.revision) == (first.path, "2" * 40)
    assert second.path.stat().st_ino == inode


async def test_finished_checkout_needs_the_source_no_more(tmp_path):
    snapshot = snapshot_of(FILES)
    await Checkouts(tmp_path).of(snapshot)
    without = replace(snapshot, contents=MemoryContents({}))
    checkout = await Checkouts(tmp_path).of(without)
    assert (checkout.path / "a.yaml").read_text() == "a"


async def test_retain_removes_all_others(tmp_path):
    checkouts = Checkouts(tmp_path)
    old = await checkouts.of(snapshot_of({"a": "1", "d/b": "2"}))
    new = await checkouts.of(snapshot_of({"a": "2"}))
    await checkouts.retain({new.digest})
    assert not old.path.exists()
    assert folders(tmp_path) == [new.path.name]
    await checkouts.retain(set())
    assert folders(tmp_path) == []


async def test_what_another_process_serves_stays_until_it_lets_go(tmp_path):
    theirs, ours = Checkouts(tmp_path), Checkouts(tmp_path)
    served = await theirs.of(snapshot_of({"a": "1"}))
    await ours.retain(set())
    assert served.path.is_dir()
    await theirs.retain(set())
    assert not served.path.exists()
    again = await theirs.of(snapshot_of({"a": "1"}))
    del theirs  # as its end does
    await ours.retain(set())
    assert not again.path.exists()


async def test_nobody_else_may_look_into_the_folder(tmp_path):
    await Checkouts(tmp_path).of(snapshot_of({"a": "1"}))
    assert mode(tmp_path / "checkouts") == 0o700


async def test_failure_in_the_middle_leaves_nothing_behind(tmp_path):
    snapshot = snapshot_of(FILES)
    broken = replace(snapshot, contents=MemoryContents({}))
    with pytest.raises(SourceError):
        await Checkouts(tmp_path).of(broken)
    assert folders(tmp_path) == []
    assert (await Checkouts(tmp_path).of(snapshot)).path.is_dir()


async def test_what_a_crash_left_is_swept(tmp_path):
    left = tmp_path / "checkouts" / "unfinished-x"
    (left / "d").mkdir(parents=True)
    (left / "d" / "half").write_text("x")
    (left / "d").chmod(0o555)
    left.chmod(0o555)
    checkout = await Checkouts(tmp_path).of(snapshot_of(FILES))
    assert folders(tmp_path) == [checkout.path.name]


async def test_checkout_that_lost_its_contents_is_made_anew(tmp_path):
    checkouts = Checkouts(tmp_path)
    checkout = await checkouts.of(snapshot_of(FILES))
    damaged = checkout.path / "flows" / "etl.py"
    damaged.chmod(0o644)
    damaged.write_text("")
    again = await checkouts.of(snapshot_of(FILES))
    assert (again.path / "flows" / "etl.py").read_text() == "print(1)"


async def test_many_at_once_make_one(tmp_path):
    found = []

    async def make():
        found.append((await Checkouts(tmp_path).of(snapshot_of(FILES))).path)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(make)
    assert len(set(found)) == 1
    assert len(folders(tmp_path)) == 1


async def test_nobody_sweeps_what_another_is_still_writing(tmp_path):
    snapshot = snapshot_of(FILES)
    reading, go_on = threading.Event(), threading.Event()

    class Slow:
        def read(self, file):
            reading.set()
            assert go_on.wait(10)
            return snapshot.contents.read(file)

    async with anyio.create_task_group() as group:
        group.start_soon(Checkouts(tmp_path).of, replace(snapshot, contents=Slow()))
        await anyio.to_thread.run_sync(reading.wait)
        group.start_soon(Checkouts(tmp_path).retain, {snapshot.digest})
        await anyio.sleep(0.2)
        go_on.set()
    assert (await Checkouts(tmp_path).of(snapshot)).path.is_dir()


async def test_empty_tree_has_an_empty_checkout(tmp_path):
    checkout = await Checkouts(tmp_path).of(snapshot_of({}))
    assert list(checkout.path.iterdir()) == []


async def test_git_ignores_the_checkouts(tmp_path):
    await Checkouts(tmp_path).retain(set())
    assert (tmp_path / "checkouts" / ".gitignore").read_text() == "*\n"


def test_a_state_folder_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError) as caught:
        state_folder(tmp_path / "file" / "mirrors")
    assert "Not a directory" in str(caught.value)
    assert "RECONCILER_STATE_DIR" in (caught.value.hint or "")
