"""The helper process of warm starts: imports Prefect once, then forks a clean process per run.

It runs in the Python of the flows, which may be another than ours, and older: so it is a script that
needs nothing but the standard library of Python 3.8. `warm.py` starts it and speaks with it.

    python helper.py SOCKET     # the number of an inherited descriptor, a SOCK_SEQPACKET

Each message is a JSON object.

    to the helper    {"fork": ID}         with descriptors: job, gate, log, and those the run holds
    from the helper  {"ready": STAMPS}    paths, and when what was imported there was changed (ns)
                     {"refused": WHY}     from this Python nothing clean can be forked; it ends
                     {"forked": ID, "pid": PID}
                     {"ended": PID, "code": CODE}    as `subprocess` has it: negative for a signal

The job is a JSON object in a file: `env`, `cwd`, `token`.
"""

import array
import atexit
import contextlib
import gc
import importlib
import importlib.util
import io
import json
import os
import select
import signal
import socket
import ssl
import stat
import sys
import sysconfig
import threading
import types
from pathlib import Path
from typing import Any

ENGINE = "prefect.engine"
USED_BY_RUNS = (
    "anyio._backends._asyncio",
    "encodings.idna",
    "prefect.client.orchestration",
    "prefect.client.subscriptions",
    "prefect.deployments",
    "prefect.deployments.steps.core",
    "prefect.events.clients",
    "prefect.events.related",
    "prefect.events.utilities",
    "prefect.events.worker",
    "prefect.filesystems",
    "prefect.flow_engine",
    "prefect.logging.configuration",
    "prefect.logging.handlers",
    "prefect.plugins",
    "prefect.results",
    "prefect.runner.storage",
    "prefect.runtime.flow_run",
    "prefect.task_engine",
    "prefect.task_runners",
    "pydantic.deprecated.copy_internals",
    "pydantic.root_model",
    "pydantic.v1",
    "rich._emoji_codes",
)
"""What the engine imports while it runs a simple flow, in either version (found by experiment)."""
TOKEN_VARIABLE = b"PREFECT__LAUNCH_TOKEN="
NEVER_STARTED = 125
LONGEST_MESSAGE = 65536
MOST_DESCRIPTORS = 16


def main() -> "types.CodeType":
    """Serve until the agent is gone; return the engine in a child that is to run it."""
    if sys.path and Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
        del sys.path[0]  # nobody's flow shall find our modules
    atexit.register(leave_shared)  # the first one registered is called last
    already = set(sys.modules)
    folders = stamps([*sys.path, str(Path(sys.prefix, "pyvenv.cfg"))])
    control = socket.socket(fileno=int(sys.argv[1]))
    refused = import_prefect()
    if refused:
        tell(control, refused=refused)
        sys.exit()
    engine = engine_code()
    token_at = place_of_token()
    share({name: each for name, each in sys.modules.items() if name not in already})
    gc.collect()
    gc.freeze()  # a collection in a child then touches, and copies, no page that all share
    tell(control, ready=folders + stamps(own_modules()))
    descriptors, number = serve(control)
    become(control, number, token_at, descriptors)
    return engine


def import_prefect() -> str:
    """Import what runs need; return why no clean process can be forked from here."""
    try:
        importlib.import_module(ENGINE)
        for name in USED_BY_RUNS:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        if hasattr(sys.modules[ENGINE], "enter_flow_run_engine_from_subprocess"):  # 2.x loads them
            sys.modules["prefect"].plugins.load_prefect_collections()
        refresh_settings()  # what it finds about types is remembered: a tenth of a second for each run
        defer_certificates()
    except Exception as error:  # noqa: BLE001 - whatever it is, a cold start will show it
        return f"{ENGINE} can't be imported: {error}"
    if threading.active_count() > 1 or len(list(Path("/proc/self/task").iterdir())) > 1:
        return "threads are alive after Prefect and its plugins were imported"
    return ""


def serve(control: socket.socket) -> "tuple[list[int], int]":
    """Fork when told to; return the descriptors in the child, and the number of the order."""
    woken, wake = os.pipe()
    for each in (woken, wake):
        os.set_blocking(each, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    while True:
        readable = select.select([control.fileno(), woken], [], [])[0]
        if woken in readable:
            os.read(woken, LONGEST_MESSAGE)
            report_the_dead(control)
        if control.fileno() in readable:
            number, descriptors = receive(control)
            if os.fork() == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(woken)
                os.close(wake)
                return descriptors, number
            for each in descriptors:
                os.close(each)


def receive(control: socket.socket) -> "tuple[int, list[int]]":
    """Take an order; the end of the agent is ours."""
    room = socket.CMSG_SPACE(MOST_DESCRIPTORS * array.array("i").itemsize)
    data, extra, _, _ = control.recvmsg(LONGEST_MESSAGE, room)
    if not data:
        os._exit(0)  # what waits at its gate ends by itself, what runs goes on
    descriptors = array.array("i")
    for _, _, numbers in extra:
        descriptors.frombytes(numbers[: len(numbers) - len(numbers) % descriptors.itemsize])
    return json.loads(data)["fork"], list(descriptors)


def report_the_dead(control: socket.socket) -> None:
    """Tell the exit codes of the runs that ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        signalled = os.WIFSIGNALED(status)
        tell(control, ended=pid, code=-os.WTERMSIG(status) if signalled else os.WEXITSTATUS(status))


def become(
    control: socket.socket, number: int, token_at: "int | None", descriptors: "list[int]"
) -> None:
    """Make this fork the process of a run, as a start of its own would have made it."""
    given = {
        each.partition(b"=")[0] for each in Path("/proc/self/environ").read_bytes().split(b"\0")
    }
    by_python = {k: v for k, v in os.environ.items() if os.fsencode(k) not in given}  # PEP 538
    job, gate, log, *_ = descriptors  # the others are held open as long as we live
    os.setsid()
    with os.fdopen(job, "rb") as file:
        wanted = json.load(file)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update({**by_python, **wanted["env"]})
    show_token(token_at, wanted["token"])
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, str(Path.cwd()))
    tell(control, forked=number, pid=os.getpid())
    control.close()
    with os.fdopen(gate, "rb") as word:
        if word.read(3) != b"go\n":
            os._exit(NEVER_STARTED)
    forget_what_is_shared()


def forget_what_is_shared() -> None:
    """Make anew what the helper holds and each process must have for itself."""
    refresh_settings()
    if "multiprocessing.process" in sys.modules:
        sys.modules["multiprocessing.process"].current_process().authkey = os.urandom(32)
    if "numpy.random" in sys.modules:  # `random` does so by itself
        sys.modules["numpy.random"].seed()


SHARED: "dict[str, Any]" = {}
"""Modules that the helper imported, and itself: a circle that nothing takes apart, being frozen."""


def share(modules: "dict[str, types.ModuleType]") -> None:
    """Remember what all runs share, and keep it alive whatever Python does at a run's end."""
    SHARED.update(modules)
    SHARED["SHARED"] = SHARED


def leave_shared() -> None:
    """At a run's end, keep Python from taking apart what the helper imported, and so copying each page.

    A run's own modules go their usual way. Of what only shared modules hold, files would be written
    out by that way, so it is done here; one that may block, a pipe, is left alone.
    """
    if not SHARED:
        return
    for each in gc.get_objects():  # what is frozen isn't among them
        if issubclass(type(each), (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)):
            with contextlib.suppress(Exception):
                if stat.S_ISREG(os.fstat(each.fileno()).st_mode):
                    each.flush()
    for name, module in SHARED.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]


def refresh_settings() -> None:
    """Have Prefect read its settings from this process's environment."""
    context: Any = importlib.import_module("prefect.context")
    if hasattr(context, "refresh_global_settings_context"):  # 3.x
        context.refresh_global_settings_context()
    else:
        context.GLOBAL_SETTINGS_CONTEXT = context.root_settings_context()


class LateContext(ssl.SSLContext):
    """A TLS context that reads its authorities' certificates when a connection needs them.

    That takes 17 ms (certifi's bundle, tried), and Prefect has it done for each client, for HTTP, too.
    """

    _late: "dict[str, Any] | None" = None

    def load_verify_locations(
        self, cafile: Any = None, capath: Any = None, cadata: Any = None
    ) -> None:
        """Remember a file that is there; load whatever else."""
        self.load_now()
        if cafile and not capath and not cadata and os.access(cafile, os.R_OK):
            self._late = {"cafile": os.path.abspath(cafile)}  # noqa: PTH100 - bytes, too
        else:
            super().load_verify_locations(cafile, capath, cadata)

    def load_now(self) -> None:
        """Read what was remembered."""
        late = self._late
        if late:
            super().load_verify_locations(**late)
            self._late = None  # not before: another thread's connection needs them, too

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """Connect, with certificates."""
        self.load_now()
        return super().wrap_socket(*args, **kwargs)

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Connect, with certificates."""
        self.load_now()
        return super().wrap_bio(*args, **kwargs)

    def cert_store_stats(self) -> "dict[str, int]":
        """Count the certificates."""
        self.load_now()
        return super().cert_store_stats()

    def get_ca_certs(self, binary_form: bool = False) -> Any:  # noqa: FBT001, FBT002 - as it is there
        """List the certificates."""
        self.load_now()
        return super().get_ca_certs(binary_form)


class Ssl(types.ModuleType):
    """The module `ssl` as it is at any moment, but for what is set here."""

    def __getattr__(self, name: str) -> Any:
        """Return what the module itself has."""
        return getattr(ssl, name)


def defer_certificates() -> None:
    """Give Prefect's own client, and nobody else, contexts that read certificates late."""
    client = sys.modules.get("prefect.client.orchestration")
    if getattr(client, "ssl", None) is not ssl:
        return
    create, plain = ssl.create_default_context, ssl.SSLContext
    if type(create) is not types.FunctionType or create.__globals__ is not vars(ssl):
        return  # somebody has put a function of their own there
    # The library's own function, whatever this Python's does, that finds our class in place of its.
    made = types.FunctionType(create.__code__, {**vars(ssl), "SSLContext": LateContext})
    made.__defaults__, made.__kwdefaults__ = create.__defaults__, create.__kwdefaults__

    def create_default_context(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        if ssl.create_default_context is not create or ssl.SSLContext is not plain:
            return ssl.create_default_context(*args, **kwargs)  # a flow has, meanwhile
        context: ssl.SSLContext = made(*args, **kwargs)
        return context

    client.ssl = Ssl("ssl")  # type: ignore[union-attr]
    client.ssl.create_default_context = create_default_context  # type: ignore[union-attr]


def place_of_token() -> "int | None":
    """Find where the kernel shows this process's launch token, `/proc/PID/environ`.

    The space was reserved by our start; a fork writes its own token there, so that whoever looks
    for the processes of a launch finds it.
    """
    try:
        import ctypes  # noqa: PLC0415 - some Pythons were built without it

        entries = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
        index = 0
        while entries[index]:
            if ctypes.string_at(entries[index], len(TOKEN_VARIABLE)) == TOKEN_VARIABLE:
                return int(entries[index]) + len(TOKEN_VARIABLE)
            index += 1
    except (ImportError, ValueError):
        pass
    return None


def show_token(at: "int | None", token: str) -> None:
    """Write the launch token where the kernel shows it."""
    if at is not None:
        import ctypes  # noqa: PLC0415 - see above

        ctypes.memmove(at, token.encode(), len(token))


def stamps(paths: "list[str]") -> "list[tuple[str, int]]":
    """Return when folders and files were last changed (ns); those that aren't there are left out."""
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            found.append((path, Path(path).stat().st_mtime_ns))
    return found


def own_modules() -> "list[str]":
    """List the files of imported modules that no package manager looks after."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    managed = tuple(f"{sysconfig.get_path(name)}{os.sep}" for name in names)
    files = [file_of(module) for module in list(sys.modules.values())]
    return [file for file in files if file and not file.startswith(managed)]


def file_of(module: object) -> Any:
    """Return where a module comes from, and leave one asleep that waits for its first use."""
    if issubclass(type(module), types.ModuleType):  # some that aren't say that they are
        return object.__getattribute__(module, "__dict__").get("__file__")
    return getattr(module, "__file__", None)


def tell(control: socket.socket, **message: object) -> None:
    """Send a message; the end of the agent is ours."""
    try:
        control.send(json.dumps(message).encode())
    except OSError:
        os._exit(0)


def engine_code() -> "types.CodeType":
    """Return what `python -m prefect.engine` executes."""
    spec: Any = importlib.util.find_spec(ENGINE)
    code: types.CodeType = spec.loader.get_code(ENGINE)
    return code


def run_engine(code: "types.CodeType") -> None:
    """Execute the engine as `python -m prefect.engine` does, in a `__main__` of its own."""
    spec = importlib.util.find_spec(ENGINE)
    module = types.ModuleType("__main__")
    module.__dict__.update(
        __builtins__=__builtins__,
        __cached__=spec.cached,  # type: ignore[union-attr]
        __file__=spec.origin,  # type: ignore[union-attr]
        __loader__=spec.loader,  # type: ignore[union-attr]
        __package__=spec.parent,  # type: ignore[union-attr]
        __spec__=spec,
    )
    sys.modules["__main__"] = module
    sys.argv[:] = [spec.origin or ENGINE]  # type: ignore[union-attr]
    exec(code, module.__dict__)  # noqa: S102 - this is what `-m` does


if __name__ == "__main__":
    run_engine(main())
