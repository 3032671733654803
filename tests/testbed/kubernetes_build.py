"""Kubernetes' own programs, built from Debian's source package (1.20.2), kept for all clones.

`python -m tests.testbed.kubernetes_build` builds them (some minutes, 3 GB of scratch). `make test`
does so in the background, at low priority, while other tests run.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.testbed.environments import locked
from tests.testbed.packages import install, source

PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")
PAUSE = "pause"
"""The program of the container that holds a pod's network."""

_TOOLS = (
    ("go", "golang-go"),
    ("gcc", "gcc", "libc6-dev"),
    ("make", "make"),
    ("rsync", "rsync"),
    ("patch", "patch"),
    ("xz", "xz-utils"),
)
_BUILD = r"""
set -euo pipefail
tar xzf kubernetes_*.orig.tar.gz --one-top-level=tree --strip-components=1
tar xJf kubernetes_*.debian.tar.xz
cd tree
for patch in $(cat ../debian/patches/series); do patch -p1 -s < ../debian/patches/$patch; done
mkdir -p .go/src/k8s.io
ln -s ../../.. .go/src/k8s.io/kubernetes
cat > .version <<VERSION
KUBE_GIT_COMMIT='0000000000000000000000000000000000000000'
KUBE_GIT_TREE_STATE='clean'
KUBE_GIT_VERSION='v1.20.2'
KUBE_GIT_MAJOR='1'
KUBE_GIT_MINOR='20'
VERSION
export KUBE_GIT_VERSION_FILE=$PWD/.version CGO_ENABLED=0 GOPROXY=off GOPATH=$PWD/.go
make WHAT="cmd/kube-apiserver cmd/kube-controller-manager cmd/kube-scheduler cmd/kubelet"
cd ..
gcc -static -Os -o pause pause.c
mkdir made
mv pause tree/_output/bin/kube-apiserver tree/_output/bin/kube-controller-manager \
   tree/_output/bin/kube-scheduler tree/_output/bin/kubelet made/
"""
_PAUSE = """#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void leave(int signal) { exit(0); }
static void bury(int signal) { while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) {
  signal(SIGINT, leave);
  signal(SIGTERM, leave);
  signal(SIGCHLD, bury);
  for (;;) pause();
}
"""


def programs() -> Path:
    """Return the folder with the programs, building them first if needed.

    Raises:
        RuntimeError: they can't be built; the end of the build's log says why.
    """
    folder = _folder()
    with locked("kubernetes", folder.parent):
        if not folder.is_dir():
            _build(folder)
        return folder


def _folder() -> Path:
    """Return where the programs are kept: beside other caches of this user, for all clones."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    key = hashlib.sha256(f"{_BUILD}{_PAUSE}{os.uname().machine}".encode()).hexdigest()[:12]
    return Path(base) / "reconciler-testbed" / f"kubernetes-{key}"


def _build(folder: Path) -> None:
    for name, *packages in _TOOLS:
        install(name, *packages)
    with tempfile.TemporaryDirectory(prefix="kubernetes-build-") as scratch:
        work = Path(scratch)
        source(work, "kubernetes")
        (work / "pause.c").write_text(_PAUSE)
        log = work / "log"
        with log.open("w") as out:
            done = subprocess.run(
                ["bash", "-c", _BUILD],
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, "HOME": scratch},
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"Kubernetes can't be built:\n{log.read_text()[-4000:]}")
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(work / "made", unfinished)
        unfinished.rename(folder)


def build_in_background() -> None:
    """Start the build, if it is needed, in a process of its own that outlives this one."""
    if _folder().is_dir():
        return
    subprocess.Popen(
        ["nice", "-n", "10", sys.executable, "-m", "tests.testbed.kubernetes_build"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


if __name__ == "__main__":
    programs()
