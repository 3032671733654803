"""Local processes: the gate, the group, the marks, and why a process ended. Real processes, no servers."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from reconciler.blocks.process import ProcessSettings
from reconciler.errors import Transient
from reconciler.infrastructure import Surroundings, launchers
from reconciler.infrastructure.base import NotLaunchable, NotStarted
from reconciler.infrastructure.process import processes
from reconciler.infrastructure.process.processes import leader_of
from reconciler.infrastructure.process.reasons import explain
from reconciler.infrastructure.process.records import Record, Records
from reconciler.model.launch import Handle, LaunchSpec, Sought
from reconciler.runtime.clock import SystemClock
from reconciler.source.checkouts import Checkouts
from tests.fakes.source import snapshot_of

pytestmark = pytest.mark.anyio
# The host is searched for processes by token: each test process needs one of its own.
TOKEN = f"11111111-1111-8111-8111-{os.getpid():012d}"


class Bench:
    def __init__(self, folder, inherited=None):
        self.lines = []
        self.folder = folder
        self.surroundings = Surroundings(
            state_dir=folder / "state",
            host_dir=folder / "host",
            inherited=lambda: {"PATH": os.environ["PATH"], **(inherited or {})},
            python=sys.executable,
            clock=SystemClock(),
            output=lambda run_id, line: self.lines.append(line),
        )
        self.launcher = self.again()

    def again(self):
        """Return a launcher as the next agent has it."""
        return launchers(self.surroundings)["process"]

    def spec(self, script, *, run="run-1", token=TOKEN, env=None, **settings):
        return LaunchSpec(
            token=token,
            flow_run_id=run,
            name="run",
            type="process",
            settings=ProcessSettings(**settings),
            env=env or {},
            command=("/bin/sh", "-c", script),
        )

    async def launch(self, script, **how):
        handle = await self.launcher.create(self.spec(script, **how))
        await self.launcher.start(handle)
        return handle

    def log(self, run="run-1"):
        return (self.folder / "state" / "runs" / f"{run}.log").read_text()


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    # Where a test lets another agent see the end, nobody has asked for the exit code.
    for child in made.launcher._children.values():
        with suppress(ProcessLookupError):
            os.kill(child.process.pid, signal.SIGKILL)
        while processes.birth(child.process.pid):
            time.sleep(0.01)
        child.process.reap()


def pid_of(handle):
    return int(handle.pid.rpartition(":")[2])


async def test_nothing_runs_before_the_word_to_start(bench):
    handle = await bench.launcher.create(bench.spec("echo ran"))
    await anyio.sleep(0.1)
    assert bench.log() == ""
    assert processes.birth(pid_of(handle))
    await bench.launcher.start(handle)
    ended = await bench.launcher.ended(handle)
    assert (ended.exit_code, bench.log()) == (0, "ran\n")
    await bench.launcher.discard(handle)


async def test_the_handle_is_prefects_host_and_pid(bench):
    handle = await bench.launch("true")
    assert handle.pid == f"{socket.gethostname()}:{pid_of(handle)}"
    assert bench.launcher.owns(handle.pid)
    assert not bench.launcher.owns("elsewhere:1")
    assert not bench.launcher.owns(f"{socket.gethostname()}:job")
    await bench.launcher.ended(handle)
    await bench.launcher.discard(handle)


async def test_a_waiting_process_ends_with_its_agent(bench):
    handle = await bench.launcher.create(bench.spec("echo ran"))
    os.close(bench.launcher._children[TOKEN].gate)
    bench.launcher._children[TOKEN].gate = None
    ended = await bench.launcher.ended(handle)
    assert ended.exit_code == 125
    assert "before it was started" in ended.reason
    assert bench.log() == ""
    found = await bench.launcher.find(Sought(TOKEN, "run-1"))
    assert (found.started, found.alive) == (False, False)
    with pytest.raises(NotLaunchable, match="is gone"):
        await bench.launcher.start(handle)


async def test_a_process_that_was_killed_at_its_gate_is_made_once_more(bench):
    for error in (Transient, NotStarted):
        handle = await bench.launcher.create(bench.spec("echo ran"))
        os.kill(pid_of(handle), signal.SIGKILL)
        await bench.launcher.ended(handle)
        with pytest.raises(error, match=r"before it was started: .* SIGKILL"):
            await bench.launcher.start(handle)
        found = await bench.launcher.find(Sought(TOKEN, "run-1"))
        assert (found.started, found.alive) == (False, False)
        await bench.launcher.discard(handle)
    assert bench.log() == ""


async def test_the_code_of_a_run_stays_while_its_process_lives_though_its_agent_died(
    bench, tmp_path
):
    tree = snapshot_of({"flow.py": "print(1)"}, revision="1" * 40)
    served = Checkouts(tmp_path / "served")
    made = await served.of(tree)
    spec = replace(bench.spec("cat; exec sleep 30"), code=made.path)
    handle = await bench.launcher.create(spec)
    await bench.launcher.start(handle)
    del served  # the agent's own lock goes with it
    after = Checkouts(tmp_path / "served")
    await after.retain(())
    assert (made.path / "flow.py").exists()
    await bench.launcher.stop(handle, 0)
    await bench.launcher.ended(handle)
    await after.retain(())
    assert not made.path.exists()
    with pytest.raises(NotStarted, match="flow code"):
        await bench.launcher.create(replace(spec, token=TOKEN.replace("1111", "2222", 1)))


async def test_the_next_agent_finds_a_started_process_and_sees_it_end(bench):
    handle = await bench.launch("sleep 0.3; exit 3")
    other = bench.again()
    found = await other.find(Sought(TOKEN, "run-1"))
    assert (found.handle, found.started, found.alive) == (handle, True, True)
    with anyio.fail_after(5):
        ended = await other.ended(handle)
    assert ended.exit_code is None
    assert "earlier agent" in ended.reason
    assert (await other.find(Sought(TOKEN, "run-1"))).alive is False
    assert (await bench.launcher.ended(handle)).exit_code == 3
    await bench.launcher.discard(handle)
    assert await other.find(Sought(TOKEN, "run-1")) is None


async def test_a_process_is_found_by_its_token_without_a_mark(bench):
    handle = await bench.launch("sleep 5 & sleep 5")
    (bench.folder / "host" / "processes" / f"{TOKEN}.json").unlink()
    found = await bench.again().find(Sought(TOKEN, "run-1"))
    assert (found.handle.pid, found.started, found.alive) == (handle.pid, True, True)
    await bench.launcher.stop(handle, 1)
    await bench.launcher.discard(handle)
    assert await bench.again().find(Sought(TOKEN, "run-1")) is None


async def test_a_mark_of_another_launch_of_the_run_is_not_ours(bench):
    handle = await bench.launch("true")
    assert await bench.launcher.find(Sought(TOKEN.replace("1", "2"), "run-1")) is None
    await bench.launcher.ended(handle)
    await bench.launcher.discard(handle)


async def test_stopping_ends_children_and_those_that_left_the_group(bench):
    script = "sleep 60 & setsid sleep 61 & echo up; wait"
    handle = await bench.launch(script)
    with anyio.fail_after(5):
        while bench.log() != "up\n" or len(processes.members(TOKEN, pid_of(handle), "")) < 3:
            await anyio.sleep(0.05)
    await bench.launcher.stop(handle, 5)
    assert processes.members(TOKEN, pid_of(handle), "") == []
    assert (await bench.launcher.ended(handle)).exit_code == -15
    await bench.launcher.discard(handle)


async def test_what_ignores_sigterm_is_killed_after_the_grace(bench):
    handle = await bench.launch("trap '' TERM; echo up; while :; do sleep 0.1; done")
    with anyio.fail_after(5):
        while bench.log() != "up\n":
            await anyio.sleep(0.05)
    with anyio.fail_after(5):
        await bench.launcher.stop(handle, 0.3)
    ended = await bench.launcher.ended(handle)
    assert ended.exit_code == -9
    assert "out of memory" in ended.reason
    await bench.launcher.discard(handle)


async def test_stopping_what_is_gone_is_fine_and_a_stranger_with_the_pid_is_left_alone(bench):
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        record = Record("run-1", TOKEN, stranger.pid, "another boot:1", started=True)
        Records(bench.folder / "host" / "processes").write(record)
        handle = Handle(TOKEN, "run-1", f"{socket.gethostname()}:{stranger.pid}")
        found = await bench.launcher.find(Sought(TOKEN, "run-1"))
        assert not found.alive
        with anyio.fail_after(5):
            await bench.launcher.stop(handle, 5)
            await bench.launcher.ended(handle)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_the_environment_is_the_agents_then_the_specs_and_null_unsets(tmp_path):
    bench = Bench(tmp_path, {"KEPT": "1", "GONE": "1", "CHANGED": "1"})
    script = 'echo "$KEPT,${GONE-unset},$CHANGED,$PREFECT__LAUNCH_TOKEN"'
    handle = await bench.launch(script, env={"GONE": None, "CHANGED": "2"})
    await bench.launcher.ended(handle)
    assert bench.log() == f"1,unset,2,{TOKEN}\n"
    await bench.launcher.discard(handle)


async def test_each_run_has_a_fresh_folder_that_is_removed_and_the_log_stays(bench):
    handle = await bench.launch("pwd; touch file")
    await bench.launcher.ended(handle)
    folder = Path(bench.log().strip())
    assert folder.is_dir()
    await bench.launcher.discard(handle)
    assert not folder.exists()
    assert await bench.launcher.logs(Sought("none", "run-1"), 5) == (str(folder),)
    assert await bench.launcher.logs(Sought("none", "unknown"), 5) == ()


async def test_a_working_dir_of_the_block_is_used_and_kept(bench, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    handle = await bench.launch("pwd", working_dir=str(there))
    await bench.launcher.ended(handle)
    await bench.launcher.discard(handle)
    assert bench.log() == f"{there}\n"
    assert there.is_dir()


@pytest.mark.parametrize(
    ("settings", "command", "words"),
    [
        ({"working_dir": "/nowhere/at/all"}, ("true",), "no folder"),
        ({}, ("no-such-command-here",), "not on the PATH"),
        ({}, ("/bin/nul\0byte",), "can't be started"),
        ({"working_dir": "/" + "long" * 200}, ("true",), "is no folder"),
    ],
)
async def test_what_can_not_be_launched_says_why_and_leaves_nothing(
    bench, settings, command, words
):
    spec = bench.spec("", **settings)
    spec = LaunchSpec(
        TOKEN, "run-1", "run", "process", spec.settings, {"PATH": "/bin"}, command=command
    )
    with pytest.raises(NotLaunchable, match=words):
        await bench.launcher.create(spec)
    work = bench.folder / "state" / "work"
    assert not work.exists() or not list(work.iterdir())


async def test_a_launch_whose_mark_can_not_be_written_leaves_no_process(bench):
    """A full disk: a process without a mark would wait at its gate for ever."""
    (bench.folder / "host").mkdir()
    (bench.folder / "host" / "processes").write_text("in the way")
    with pytest.raises(NotStarted, match="state directory can't be written"):
        await bench.launcher.create(bench.spec("sleep 60"))
    assert bench.launcher._children == {}
    assert leader_of(TOKEN) is None
    assert not list((bench.folder / "state" / "work").iterdir())


async def test_a_log_that_can_not_be_written_is_said_of_the_platform(bench):
    (bench.folder / "state").mkdir()
    (bench.folder / "state" / "runs").write_text("in the way")
    with pytest.raises(NotStarted, match="state directory can't be written"):
        await bench.launcher.create(bench.spec("true"))


async def test_a_run_whose_start_can_not_be_marked_is_not_started(bench):
    handle = await bench.launcher.create(bench.spec("echo ran"))
    (bench.folder / "host" / "processes" / f"{TOKEN}.{os.getpid()}.draft").mkdir()
    with pytest.raises(NotStarted, match="state directory can't be written"):
        await bench.launcher.start(handle)
    await bench.launcher.discard(handle)
    assert bench.log() == ""


async def test_output_without_line_ends_is_streamed_in_bounded_pieces(bench):
    """A progress bar, or a binary, of gigabytes: all of it in memory would stop the heartbeat."""
    handle = await bench.launch("head -c 5000000 /dev/zero | tr '\\0' x; sleep 60")
    deadline = time.monotonic() + 30
    while len(bench.log()) < 5_000_000 and time.monotonic() < deadline:
        await anyio.sleep(0.05)
    bench.launcher._logs.pass_on()
    note, piece = bench.lines
    assert "bytes are left out here" in note
    assert piece == "x" * 1024 * 1024
    bench.launcher._logs.pass_on()
    assert len(bench.lines) == 2
    await bench.launcher.stop(handle, 0)
    await bench.launcher.ended(handle)
    await bench.launcher.discard(handle)


async def test_the_default_command_is_prefects_engine_on_the_configured_python(bench, tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    around = bench.surroundings
    bench.surroundings = Surroundings(
        around.state_dir, around.host_dir, around.inherited, str(python), around.clock
    )
    bench.launcher = bench.again()
    spec = LaunchSpec(TOKEN, "run-1", "run", "process", ProcessSettings())
    handle = await bench.launcher.create(spec)
    await bench.launcher.start(handle)
    await bench.launcher.ended(handle)
    assert bench.log() == "-m prefect.engine\n"
    await bench.launcher.discard(handle)


async def test_output_is_streamed_by_lines_and_only_where_the_block_says_so(bench):
    async with anyio.create_task_group() as group:
        group.start_soon(bench.launcher.watch)
        quiet = await bench.launch(
            "echo quiet", run="q", token=TOKEN.replace("8111", "8222"), stream_output=False
        )
        handle = await bench.launch("echo one; printf tw; sleep 0.1; echo o; printf end")
        await bench.launcher.ended(handle)
        await bench.launcher.ended(quiet)
        group.cancel_scope.cancel()
    assert bench.lines == ["one", "two", "end"]
    assert bench.log("q") == "quiet\n"
    for each in (handle, quiet):
        await bench.launcher.discard(each)


async def test_the_last_lines_come_with_the_end(bench):
    handle = await bench.launch("seq 1 100; exit 1")
    ended = await bench.launcher.ended(handle)
    assert ended.last_lines == tuple(str(n) for n in range(91, 101))
    assert "exit code 1" in ended.reason
    await bench.launcher.discard(handle)


async def test_marks_and_folders_that_nobody_removed_go_after_a_day(bench, tmp_path):
    records = Records(bench.folder / "host" / "processes")
    folder = tmp_path / "old"
    folder.mkdir()
    born = processes.birth(os.getpid())
    records.write(Record("run", "dead", 2**22 - 1, "x", folder=str(folder)))
    records.write(Record("run", "alive", os.getpid(), born))
    records.write(Record("run", "new", 2**22 - 1, "x"))
    for name in ("dead", "alive"):
        os.utime(bench.folder / "host" / "processes" / f"{name}.json", (0, 0))
    bench.launcher._sweep()
    assert records.read("dead") is None
    assert records.read("alive")
    assert records.read("new")
    assert not folder.exists()


async def test_a_mark_that_was_cut_short_counts_as_none(bench):
    records = Records(bench.folder)
    (bench.folder / "token.json").write_text('{"run_id": ')
    assert records.read("token") is None


async def test_preflight_names_what_is_missing(bench):
    assert await bench.launcher.preflight(ProcessSettings(), "http://x/api") == ()
    wrong = ProcessSettings(working_dir="/nowhere/at/all")
    assert "no folder" in (await bench.launcher.preflight(wrong, ""))[0]
    around = bench.surroundings
    bench.surroundings = Surroundings(
        around.state_dir, around.host_dir, dict, "/no/python", around.clock
    )
    assert "/no/python" in (await bench.again().preflight(ProcessSettings(), ""))[0]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "earlier agent"),
        (0, "normally"),
        (3, "exit code 3"),
        (127, "not found"),
        (137, "out of memory"),
        (-9, "out of memory"),
        (-15, "SIGTERM"),
        (-11, "native code"),
        (-1, "SIGHUP"),
        (-200, "signal 200"),
    ],
)
async def test_reasons_help(code, words):
    assert words in explain(code)
