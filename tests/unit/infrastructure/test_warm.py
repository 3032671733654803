"""Warm starts: what a flow run meets is what a start of its own would have given it.

Real processes; in the place of Prefect stands a small package of its shape, so that tests can see
what was imported, when, and by whom.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import uuid
from pathlib import Path

import anyio
import pytest

from reconciler.blocks.process import ProcessSettings
from reconciler.infrastructure import Surroundings
from reconciler.infrastructure.process import ProcessLauncher, processes, warm
from reconciler.model.launch import LaunchSpec, Sought
from reconciler.runtime.clock import SystemClock

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ENGINE = """
import json, os, sys, random
import prefect
if __name__ == "__main__":
    prefect.runs.append(os.environ["PREFECT__FLOW_RUN_ID"])
    import prefect.context
    print(json.dumps({
        "imported_by": prefect.imported_by, "pid": os.getpid(), "cwd": os.getcwd(),
        "session": os.getsid(0), "env": dict(os.environ), "argv": sys.argv, "path": sys.path[0],
        "runs": prefect.runs, "settings": prefect.context.settings, "random": random.random(),
        "open": sorted(int(n) for n in os.listdir("/proc/self/fd")), "name": __spec__.name,
        "module": sys.modules["__main__"].__dict__ is globals(),
    }), flush=True)
    exec(os.environ.get("PREFECT__FLOW", ""))
"""
CONTEXT = """
import os
settings = None
def refresh_global_settings_context():
    global settings
    settings = os.environ.get("PREFECT_SETTING")
"""
ENTER = "def enter_flow_run_engine_from_subprocess(): pass"
PACKAGE = "import os\nimported_by = os.getpid()\nruns = []\n"


class Bench:
    def __init__(self, folder, **fakes):
        self.folder = folder
        self.package = folder / "packages" / "prefect"
        self.package.mkdir(parents=True)
        files = {"__init__": PACKAGE, "engine": ENGINE, "context": CONTEXT, **fakes}
        for name, text in files.items():
            (self.package / f"{name}.py").write_text(text)
        self.inherited = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder / "packages")}
        self.launcher = self.again()
        self.runs = 0

    def again(self, ahead=None):
        """Return a launcher as the next agent has it."""
        return ProcessLauncher(
            Surroundings(
                state_dir=self.folder / "state",
                host_dir=self.folder / "host",
                inherited=lambda: self.inherited,
                python=sys.executable,
                clock=SystemClock(),
                warm=True,
                ahead=ahead,
            )
        )

    async def create(self, flow="", *, env=None, **settings):
        self.runs += 1
        run = f"run-{self.runs}"
        token = str(uuid.uuid4())
        spec = LaunchSpec(
            token=token,
            flow_run_id=run,
            name=run,
            type="process",
            settings=ProcessSettings(**settings),
            env={"PREFECT__FLOW": flow, "PREFECT__FLOW_RUN_ID": run, **(env or {})},
            command=tuple(settings["command"]) if settings.get("command") else None,
        )
        return await self.launcher.create(spec)

    async def run(self, flow="", **how):
        """Run to the end; return how it ended, and what the engine met."""
        handle = await self.create(flow, **how)
        await self.launcher.start(handle)
        ended = await self.launcher.ended(handle)
        met = self.met(handle)
        await self.launcher.discard(handle)
        return ended, met

    def met(self, handle):
        text = (self.folder / "state" / "runs" / f"{handle.flow_run_id}.log").read_text()
        return json.loads(text.splitlines()[0]) if text.startswith("{") else text

    @property
    def helpers(self):
        return list(self.launcher._warm._helpers.values())


@pytest.fixture
async def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    await made.launcher.close()


def pid_of(handle):
    return int(handle.pid.rpartition(":")[2])


async def until(condition):
    def met():
        with contextlib.suppress(BlockingIOError):
            return condition()

    with anyio.fail_after(10):
        while not met():
            await anyio.sleep(0.02)


async def test_prefect_is_imported_once_and_each_run_is_a_process_of_its_own(bench):
    met = [(await bench.run())[1] for _ in range(3)]
    assert len({one["imported_by"] for one in met}) == 1
    assert len({one["pid"] for one in met}) == 3
    assert all(one["imported_by"] != one["pid"] == one["session"] for one in met)
    assert [one["runs"] for one in met] == [["run-1"], ["run-2"], ["run-3"]]
    assert len({one["random"] for one in met}) == 3


async def test_a_run_meets_what_a_cold_start_gives_it(bench, tmp_path):
    env = {"PREFECT_SETTING": "mine", "OTHER": "ü"}
    _, met = await bench.run(env=env)
    bench.launcher._warm.close()
    bench.launcher._warm = None
    _, cold = await bench.run(env=env)
    own = {"PREFECT__LAUNCH_TOKEN", "PREFECT__FLOW_RUN_ID", "PWD"}  # `sh` sets PWD
    for one in (met, cold):
        assert one["env"]["PREFECT__FLOW_RUN_ID"] == one["runs"][0]
        assert Path(one["cwd"]).parent == tmp_path / "state" / "work"
        assert one["path"] == one["cwd"]
        assert one["module"]
        one["env"] = {k: v for k, v in one["env"].items() if k not in own}
    assert met["settings"] == "mine"
    for same in ("env", "argv", "name"):
        assert met[same] == cold[same], same
    assert len(met["open"]) == len(cold["open"])


async def test_an_environment_is_never_shared(bench):
    _, one = await bench.run(env={"A": "1"})
    _, other = await bench.run(env={"A": "2"})
    assert one["imported_by"] != other["imported_by"]
    assert (one["env"]["A"], other["env"]["A"]) == ("1", "2")


@pytest.mark.parametrize(
    ("flow", "code"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", -9), ("1/0", 1), ("", 0)]
)
async def test_the_exit_code_comes_from_the_helper(bench, flow, code):
    ended, _ = await bench.run(flow)
    assert ended.exit_code == code


async def test_nothing_runs_before_the_word_to_start(bench):
    handle = await bench.create()
    await anyio.sleep(0.2)
    assert bench.met(handle) == ""
    await bench.launcher.discard(handle)
    assert processes.birth(pid_of(handle)) is None
    assert bench.met(handle) == ""


async def test_what_waits_ends_with_its_agent_and_what_runs_goes_on(bench):
    running = await bench.create("import time; time.sleep(30)")
    await bench.launcher.start(running)
    waiting = await bench.create()
    await until(lambda: bench.met(running))
    [helper] = bench.helpers
    os.close(bench.launcher._children[waiting.token].gate)
    bench.launcher._children[waiting.token].gate = None
    await bench.launcher.close()
    await until(lambda: processes.birth(pid_of(waiting)) is None)
    assert processes.birth(helper._process.pid) is None
    assert bench.met(waiting) == ""
    later = bench.again()
    found = await later.find(Sought(running.token, running.flow_run_id))
    assert (found.started, found.alive) == (True, True)
    await later.stop(found.handle, 1)
    assert processes.birth(pid_of(running)) is None


async def test_a_launch_is_found_by_its_token_without_a_mark(bench):
    handle = await bench.create("import time; time.sleep(30)")
    await bench.launcher.start(handle)
    assert processes.leader_of(handle.token) == pid_of(handle)
    (bench.folder / "host" / "processes" / f"{handle.token}.json").unlink()
    found = await bench.launcher.find(Sought(handle.token, handle.flow_run_id))
    assert found.alive
    await bench.launcher.stop(found.handle, 1)
    assert (await bench.launcher.ended(handle)).exit_code == -signal.SIGTERM
    await bench.launcher.discard(handle)


async def test_what_a_run_started_is_stopped_with_it(bench):
    flow = "import subprocess; subprocess.run(['sleep', '60'], start_new_session=True)"
    handle = await bench.create(flow)
    await bench.launcher.start(handle)
    await until(lambda: len(processes.members(handle.token, pid_of(handle), "")) == 2)
    await bench.launcher.stop(handle, 1)
    assert processes.members(handle.token, pid_of(handle), "") == []
    await bench.launcher.ended(handle)
    await bench.launcher.discard(handle)


async def test_a_helper_that_is_killed_loses_only_exit_codes(bench):
    handle = await bench.create("import time; time.sleep(0.5)")
    await bench.launcher.start(handle)
    [helper] = bench.helpers
    os.kill(helper._process.pid, signal.SIGKILL)
    ended = await bench.launcher.ended(handle)
    assert ended.exit_code is None
    assert bench.met(handle)["runs"] == ["run-1"]
    await bench.launcher.discard(handle)
    ended, met = await bench.run()
    assert (ended.exit_code, met["imported_by"]) == (0, met["pid"])  # cold


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_prefect_that_cannot_be_imported_warm_is_started_cold(tmp_path, hangs):
    text = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    bench = Bench(tmp_path, __init__=PACKAGE + (text if hangs else "raise ImportError('no')"))
    ended, met = await bench.run()
    assert ended.exit_code == (0 if hangs else 1)
    if hangs:
        assert met["imported_by"] == met["pid"]
    assert bench.helpers == []
    await bench.run()
    assert bench.helpers == [], "it is not tried again at once"
    await bench.launcher.close()


async def test_a_command_of_its_own_is_started_cold(bench):
    ended, met = await bench.run(command=["echo", "hello"])
    assert (ended.exit_code, met) == (0, "hello\n")
    assert bench.helpers == []


@pytest.mark.parametrize("path", ["src", "{0}:", "{0}:src"])
async def test_modules_below_the_runs_own_folder_are_found_as_ever(bench, tmp_path, path):
    """A helper is at home elsewhere: what is relative to the run's folder it would not find."""
    (tmp_path / "code" / "src").mkdir(parents=True)
    (tmp_path / "code" / "src" / "mine.py").write_text("")
    bench.inherited |= {"PYTHONPATH": path.format(bench.folder / "packages")}
    if path == "src":
        (tmp_path / "code" / "src" / "prefect").symlink_to(bench.package)
    ended, met = await bench.run(working_dir=str(tmp_path / "code"))
    assert (ended.exit_code, met["imported_by"]) == (0, met["pid"])
    assert bench.helpers == []


async def test_changed_packages_are_imported_anew(bench):
    _, before = await bench.run()
    (bench.package / "context.py").write_text(CONTEXT.replace("PREFECT_SETTING", "NEWER"))
    _, after = await bench.run(env={"NEWER": "yes"})
    assert before["imported_by"] != after["imported_by"]
    assert after["settings"] == "yes"
    (bench.folder / "packages" / "another").mkdir()
    _, last = await bench.run(env={"NEWER": "yes"})
    assert last["imported_by"] != after["imported_by"]


async def test_helpers_are_few_and_one_environment_does_not_drive_out_another(bench):
    for number in range(warm._MOST):
        await bench.run(env={"A": str(number)})
    first = bench.helpers
    _, met = await bench.run(env={"A": "once"})
    assert (met["imported_by"], bench.helpers) == (met["pid"], first)  # cold
    _, met = await bench.run(env={"A": "once"})
    assert met["imported_by"] != met["pid"]
    assert len(bench.helpers) == warm._MOST
    assert first[0] not in bench.helpers


async def test_a_helper_lives_until_its_last_run_has_ended(bench):
    handle = await bench.create("import time; time.sleep(0.7); sys.exit(7)")
    await bench.launcher.start(handle)
    [helper] = bench.helpers
    (bench.folder / "packages" / "another").mkdir()
    _, met = await bench.run()
    assert met["imported_by"] != helper._process.pid
    bench.launcher._warm.tidy()
    assert (await bench.launcher.ended(handle)).exit_code == 7
    await bench.launcher.discard(handle)
    bench.launcher._warm.tidy()
    assert helper._process.poll() is not None


async def test_no_process_is_left_behind(bench):
    for _ in range(3):
        await bench.run()
    [helper] = bench.helpers
    await bench.launcher.close()
    assert processes.birth(helper._process.pid) is None
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


async def test_a_helper_is_ready_ahead_where_flow_runs_were_launched_before(bench):
    def ready(launcher):
        return list(launcher._warm._helpers.values())

    async def watched(launcher):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(launcher.watch)
            await anyio.sleep(0.1)
            helpers = ready(launcher)
            tasks.cancel_scope.cancel()
        return [helper._process.args[0] for helper in helpers]

    assert await watched(bench.again(ahead={"A": "1"})) == [], "nothing was launched here before"
    await bench.run()
    assert await watched(bench.again()) == [], "the agent may have nothing to launch at all"
    assert await watched(bench.again(ahead={"A": "1"})) == [sys.executable]
    await bench.launcher.close()
    bench.launcher = bench.again(ahead={"A": "1"})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.launcher.watch)
        await until(lambda: ready(bench.launcher))
        [helper] = ready(bench.launcher)
        _, met = await bench.run(env={"A": "1"})
        tasks.cancel_scope.cancel()
    assert met["imported_by"] == helper._process.pid


async def test_what_waits_for_its_first_use_is_not_woken_by_the_helper(tmp_path):
    """Prefect 2.20 has its optional parts wait so; all of them would be imported for each helper."""
    lazy = PACKAGE + (
        "import importlib.util as u, sys\n"
        "spec = u.find_spec('prefect.asleep')\n"
        "spec.loader = u.LazyLoader(spec.loader)\n"
        "asleep = sys.modules['prefect.asleep'] = u.module_from_spec(spec)\n"
        "spec.loader.exec_module(asleep)\n"
        "sys.modules['no.module'] = type('Odd', (), {'__slots__': (), '__class__': type(u)})()\n"
    )
    bench = Bench(tmp_path, __init__=lazy, asleep="import prefect\nprefect.runs.append('woken')")
    _, met = await bench.run()
    assert (met["runs"], met["imported_by"] != met["pid"]) == (["run-1"], True)
    await bench.launcher.close()


async def test_collections_that_every_run_loads_are_loaded_by_the_helper(tmp_path):
    """2.20.26's engine imports them all, some for seconds; 3.8.8's doesn't (read)."""
    plugins = (
        "import prefect, os\ndef load_prefect_collections(): prefect.runs.append(os.getpid())\n"
    )
    met = {}
    for engine, name in ((ENGINE, "three"), (f"{ENGINE}\n{ENTER}", "two")):
        (tmp_path / name).mkdir()
        package = f"{PACKAGE}from prefect import plugins\n"
        bench = Bench(tmp_path / name, __init__=package, plugins=plugins, engine=engine)
        _, met[name] = await bench.run()
        await bench.launcher.close()
    assert met["three"]["runs"] == ["run-1"]
    assert met["two"]["runs"] == [met["two"]["imported_by"], "run-1"]


ENDS = """
import atexit, os, pathlib, prefect, sys, threading
class Own:
    def __del__(self, note=os.write, to=os.open("deleted", os.O_CREAT | os.O_WRONLY)):
        note(to, b"own")
own = Own()
prefect.held = open("held", "w")
prefect.held.write("by a module of all")
mine = open("mine", "w")
mine.write("by the run's own")
atexit.register(lambda: pathlib.Path("late").write_text(str("prefect.context" in sys.modules)))
"""
STUCK = """
read, write = os.pipe()
prefect.full = os.fdopen(write, "wb")
threading.Thread(target=lambda: prefect.full.write(b"-" * 10**6), daemon=True).start()
__import__("time").sleep(0.3)
"""


@pytest.mark.parametrize("stuck", ["", STUCK])
async def test_a_run_ends_as_a_process_of_its_own_does(bench, tmp_path, stuck):
    """The helper's modules are not taken apart then; what the run made is, and files are whole."""
    ended, _ = await bench.run(ENDS + stuck, working_dir=str(tmp_path))
    assert ended.exit_code == 0
    # The stuck thread's frame keeps the run's names, in a start of its own as here.
    assert (tmp_path / "deleted").read_text() == ("" if stuck else "own")
    assert (tmp_path / "held").read_text() == "by a module of all"
    assert (tmp_path / "mine").read_text() == "by the run's own"
    assert (tmp_path / "late").read_text() == "True"


async def test_a_helper_that_was_ready_ahead_is_made_anew_when_packages_have_changed(bench):
    await bench.run()
    await bench.launcher.close()
    bench.launcher = bench.again(ahead={"PREFECT__SOMEBODYS": "run"})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.launcher.watch)
        await until(lambda: bench.helpers)
        await until(lambda: bench.helpers[0]._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        old = bench.helpers[0]._process.pid
        (bench.package / "context.py").write_text(CONTEXT.replace("PREFECT_SETTING", "NEWER"))
        _, met = await bench.run()
        tasks.cancel_scope.cancel()
    assert met["imported_by"] not in {old, met["pid"]}
