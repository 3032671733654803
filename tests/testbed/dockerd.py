"""A real, private Docker engine: its own data, socket, bridge and addresses, gone without a trace.

    with Dockerd() as engine:              # or shared(): one for all who ask in this process
        engine.docker("run", "--rm", images.PYBASE, "python3", "-V")
        ... engine.url, engine.gateway ...

Debian's docker.io is installed with apt where it is missing and we may; where no engine can be
had, starting fails, since nothing real is skipped. Needs root.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self

from tests.testbed.environments import cache_folder
from tests.testbed.packages import PATH, install, program

_START_SECONDS = 90.0
_STOP_SECONDS = 20.0
_PLACES = 64


class Dockerd:
    """See the module's text. Several can run at the same time.

    Containers reach the machine at `gateway` (and as host.docker.internal with `host-gateway`) and
    nothing beyond it: no packet filter rule of the machine is touched.

    Attributes:
        folder: its data, socket and log; free to be used by whoever started it.
        socket: of its API.
        url: the same as `unix://…`, for clients.
        gateway: address of the machine on the default bridge.
        bridge: name of the default bridge.
    """

    def __init__(self, *options: str) -> None:
        """Prepare it.

        Args:
            options: further ones for dockerd, such as `-H tcp://127.0.0.1:2376`.
        """
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._claim: IO[str] | None = None

    def __enter__(self) -> Self:
        install("dockerd", "docker.io", "iptables")
        install("ip", "iproute2")
        self._claim, number = _free_place()
        self.folder = Path(tempfile.mkdtemp(prefix="rdk-"))  # short: socket paths have 107 bytes
        self.socket = self.folder / "docker.sock"
        self.url = f"unix://{self.socket}"
        self.bridge = f"rtb{number}"
        self.gateway = f"10.213.{number}.1"
        self._pool = f"base=10.214.{number * 4}.0/22,size=26"
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start it (again) on its data; returns when its API answers."""
        self._make_bridge()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", program("dockerd"), *self._arguments()],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PATH": PATH},
                start_new_session=True,
            )
        end = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"dockerd did not start:\n{self._log()}")
            time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the engine and, unless it has `live-restore`, its containers; the data stays."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def close(self) -> None:
        """Remove everything: containers, networks, data, the bridge."""
        links = [self.bridge]
        if self._process is not None and self._process.poll() is None:
            with suppress(Exception):
                self.clear()
                links += [f"br-{one[:12]}" for one in self.docker("network", "ls", "-q").split()]
        self.stop()
        for link in links:
            _quiet(["ip", "link", "delete", link])
        end = time.monotonic() + _STOP_SECONDS
        while self.folder.exists() and time.monotonic() < end:
            _end_helpers(self.folder)
            _unmount(self.folder)
            shutil.rmtree(self.folder, ignore_errors=True)  # helpers that die may still write there
        if self._claim is not None:
            self._claim.close()

    def clear(self) -> None:
        """Remove all containers and networks that tests made."""
        containers = self.docker("ps", "-aq").split()
        if containers:
            self.docker("rm", "--force", "--volumes", *containers, check=False)
        self.docker("network", "prune", "--force")

    def docker(self, *arguments: str, check: bool = True, stdin: IO[bytes] | None = None) -> str:
        """Run the `docker` command against this engine; return what it printed."""
        done = subprocess.run(
            [program("docker"), "-H", self.url, *arguments],
            stdin=stdin or subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env=self.environment(),
        )
        if check and done.returncode:
            raise RuntimeError(f"docker {' '.join(arguments)} failed:\n{done.stderr.decode()}")
        return done.stdout.decode()

    def environment(self) -> dict[str, str]:
        """Return variables for `docker` that keep it away from the user's own configuration."""
        own = {"DOCKER_CONFIG": str(self.folder / "config"), "DOCKER_BUILDKIT": "0", "PATH": PATH}
        return {**os.environ, **own}

    def inspect(self, container: str) -> dict[str, Any]:
        """Return what the engine knows of a container."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", container))
        return found[0]

    def has_image(self, name: str) -> bool:
        """Tell whether the engine has an image."""
        return bool(self.docker("images", "-q", name).strip())

    def _arguments(self) -> Sequence[str]:
        return (
            *("--data-root", str(self.folder / "data")),
            *("--exec-root", str(self.folder / "exec")),
            *("--pidfile", str(self.folder / "pid")),
            *("-H", self.url),
            *("--config-file", str(self._config())),
            *("--storage-driver", "overlay2"),
            *("--bridge", self.bridge),
            *("--default-address-pool", self._pool),
            "--iptables=false",
            *("--oom-score-adjust", "0"),
            *self._options,
        )

    def _config(self) -> Path:
        """Write the configuration, with a runtime that also works where root lacks a capability."""
        runtime = self.folder / "runc-within-limits"
        runtime.write_text(_RUNTIME.replace("PYTHON", sys.executable, 1))
        runtime.chmod(0o755)
        path = self.folder / "daemon.json"
        content = {
            "runtimes": {"within-limits": {"path": str(runtime)}},
            "default-runtime": "within-limits",
        }
        path.write_text(json.dumps(content))
        return path

    def _make_bridge(self) -> None:
        _quiet(["ip", "link", "delete", self.bridge])
        for command in (
            ["ip", "link", "add", "name", self.bridge, "type", "bridge"],
            ["ip", "address", "add", f"{self.gateway}/24", "dev", self.bridge],
            ["ip", "link", "set", self.bridge, "up"],
        ):
            subprocess.run(command, check=True, capture_output=True, env={"PATH": PATH})

    def _answers(self) -> bool:
        command = [program("docker"), "-H", self.url, "version"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-4000:]


_RUNTIME = """#!PYTHON -IS
# An OCI runtime: runc, asked for nothing that this machine's root may not do itself.
import json, os, shutil, sys

arguments = sys.argv[1:]
if "create" in arguments and "--bundle" in arguments:
    path = os.path.join(arguments[arguments.index("--bundle") + 1], "config.json")
    with open(path) as file:
        config = json.load(file)
    process = config["process"]
    with open("/proc/self/status") as file:
        bounding = next(int(line.split()[1], 16) for line in file if line.startswith("CapBnd"))
    if not bounding >> 24 & 1:  # CAP_SYS_RESOURCE
        if (process.get("oomScoreAdj") or 0) < 0:
            del process["oomScoreAdj"]
        for kind, names in (process.get("capabilities") or {}).items():
            process["capabilities"][kind] = [one for one in names if one != "CAP_SYS_RESOURCE"]
        with open(path, "w") as file:
            json.dump(config, file)
runc = shutil.which("runc", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin")
os.execv(runc, ["runc", *arguments])
"""


_shared: list[Dockerd] = []
_users = 0


@contextmanager
def shared() -> Iterator[Dockerd]:
    """Give all who ask in this process the same engine; it lives as long as one of them."""
    global _users  # noqa: PLW0603 - one for the process is the point
    if not _shared:
        _shared.append(Dockerd().__enter__())
    _users += 1
    try:
        yield _shared[0]
    finally:
        _users -= 1
        if not _users:
            _shared.pop().close()


def _free_place() -> tuple[IO[str], int]:
    """Claim a number for addresses; the claim ends with the file or with this process."""
    folder = cache_folder() / "dockerd-places"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(_PLACES):
        file = (folder / str(number)).open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        return file, number
    raise RuntimeError("too many Docker engines of tests run on this machine")


def _end_helpers(folder: Path) -> None:
    """End what an engine that was killed left running: containerd and the containers' shims."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            if f"{folder}/".encode() in command and b"containerd" in command:
                os.kill(int(entry.name), signal.SIGKILL)


def _unmount(folder: Path) -> None:
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed([one for one in mounts if one.startswith(f"{folder}/")]):
        _quiet(["umount", "--lazy", mount])


def _quiet(command: list[str]) -> None:
    subprocess.run(command, check=False, capture_output=True, env={"PATH": PATH})
