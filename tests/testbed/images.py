"""Container images made without a registry: a small Debian with Python 3.11, and with Prefect.

    images.pybase(engine)            # imports images.PYBASE
    images.prefect(engine, 3)        # imports Prefect 3.8.8, also under its default image's name
    images.building(engine)          # imports what our Dockerfile is built on

They are made once from Debian's and Python's packages and kept as tar files in the cache folder.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.testbed.dockerd import Dockerd
from tests.testbed.environments import ROOT, cache_folder, environment, locked, uv_command
from tests.testbed.packages import download, install, program

PYBASE = "pybase:3.11"
BUILDING = "building:bookworm"
PREFECT = {
    2: "prefecthq/prefect:2.20.26-python3.11",
    3: "prefecthq/prefect:3.8.8-python3.11",
}
"""Default images of the versions under test, by the name that Prefect gives them."""

_PACKAGES = """
base-files libc6 libc-bin libgcc-s1 libstdc++6 dash coreutils libacl1 libattr1 libselinux1
libpcre2-8-0 libgmp10 zlib1g bash libtinfo6 ncurses-base python3.11-minimal python3.11
libpython3.11-minimal libpython3.11-stdlib libexpat1 libssl3 libffi8 libbz2-1.0 liblzma5
libsqlite3-0 libreadline8 libuuid1 libncursesw6 libdb5.3 libcrypt1 libnsl2 libtirpc3
libgssapi-krb5-2 libkrb5-3 libk5crypto3 libcom-err2 libkrb5support0 libkeyutils1 media-types tzdata
ca-certificates netbase
"""
_TOOLS = "python3,python3-venv,git,openssh-client,tini,ca-certificates"
_FORMAT = "1"  # change it when what is made below changes


def pybase(engine: Dockerd) -> str:
    """Give an engine the image with Python; return its name."""
    _load(engine, pybase_tar(), PYBASE)
    return PYBASE


def prefect(engine: Dockerd, major: int) -> str:
    """Give an engine the image with Prefect 2.20.26 or 3.8.8; return its name."""
    _load(engine, prefect_tar(major), PREFECT[major])
    return PREFECT[major]


def building(engine: Dockerd) -> str:
    """Give an engine a base for our Dockerfile, which then needs no network; return its name.

    It is a whole small Debian with git, ssh and tini, and the Python packages that the Dockerfile
    installs, where its pip looks for them.
    """
    _load(engine, _building_tar(), BUILDING)
    return BUILDING


def _building_tar() -> Path:
    wanted = [ROOT / "requirements" / f"{name}.txt" for name in ("build", "base")]

    def make(root: Path) -> None:
        install("debootstrap", "debootstrap")
        bootstrap = ["debootstrap", "--variant=minbase", f"--include={_TOOLS}", "bookworm"]
        _run([program(bootstrap[0]), *bootstrap[1:], str(root)])
        shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
        wheels = root / "wheels"
        pip = [sys.executable, "-m", "pip", "download", "--no-input", "--quiet", "--no-deps"]
        for file in wanted:
            _run([*pip, "--require-hashes", "-r", str(file), "-d", str(wheels)])
        where = "find" + "-links"  # put together: no file of ours may name a place of packages
        (root / "etc/pip.conf").write_text(f"[global]\nno-index = true\n{where} = /wheels\n")

    with locked("image-building"):
        return _kept("building", _TOOLS + "".join(file.read_text() for file in wanted), make)


def pybase_tar() -> Path:
    """Return the file system of the image with Python, making it first if needed (5 s)."""
    with locked("image-pybase"):
        return _kept("pybase", _PACKAGES, _make_base)


def prefect_tar(major: int) -> Path:
    """Return the file system of an image with Prefect, making it first if needed (30 s)."""
    base = pybase_tar()
    requirements = ROOT / "requirements" / f"prefect{major}.txt"

    def make(root: Path) -> None:
        subprocess.run(["tar", "-C", str(root), "-xf", str(base)], check=True)
        _add_site(root, requirements)

    with locked(f"image-prefect{major}"):
        return _kept(f"prefect{major}", requirements.read_text() + base.name, make)


def _kept(name, content, make) -> Path:
    key = hashlib.sha256(f"{_FORMAT}\n{content}".encode()).hexdigest()[:12]
    folder = cache_folder() / "images"
    path = folder / f"{name}-{key}.tar"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{name}-*.tar"):
        old.unlink()
    with tempfile.TemporaryDirectory(prefix="rootfs-") as scratch:
        make(Path(scratch))
        unfinished = path.with_suffix(".unfinished")
        owner = ["--owner=0", "--group=0", "--numeric-owner"]
        subprocess.run(["tar", "-C", scratch, *owner, "-cf", str(unfinished), "."], check=True)
        unfinished.rename(path)
    return path


def _make_base(root: Path) -> None:
    """Unpack Debian's packages; no script of theirs runs."""
    root.chmod(0o755)
    with tempfile.TemporaryDirectory() as debs:
        download(Path(debs), *_PACKAGES.split())
        for deb in sorted(Path(debs).glob("*.deb")):
            _run(["dpkg", "-x", str(deb), str(root)])
    for name in ("doc", "man", "locale", "lintian", "info"):
        shutil.rmtree(root / "usr" / "share" / name, ignore_errors=True)
    for name in ("root", "tmp", "proc", "sys", "dev", "etc/ssl/certs"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for link, target in (("python3", "python3.11"), ("python", "python3")):
        _link(root / "usr" / "bin" / link, target)
    _link(root / "bin" / "sh", "dash")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/nsswitch.conf").write_text("hosts: files dns\npasswd: files\ngroup: files\n")


def _add_site(root: Path, requirements: Path) -> None:
    """Install packages for the image's Python, compiled: otherwise each start takes 5 s more."""
    site = root / "usr/local/lib/python3.11/dist-packages"
    site.mkdir(parents=True, exist_ok=True)
    wanted = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(requirements)]
    options = ["--python-version", "3.11", "--target", str(site), *wanted]
    uv = uv_command()
    if (not uv or not _works([uv, "pip", "install", "--quiet", *options])) and not _works(
        [sys.executable, "-m", "pip", "install", "--no-input", "--quiet", *options]
    ):
        # Prefect 2.20 needs pendulum 2, which has no wheel for Python 3.11: take what was built.
        python = environment(requirements.stem)
        shutil.copytree(_site_of(python), site, dirs_exist_ok=True)
    shutil.rmtree(site / "bin", ignore_errors=True)
    command = root / "usr/local/bin/prefect"
    command.parent.mkdir(parents=True, exist_ok=True)
    command.write_text("#!/usr/bin/python3\nfrom prefect.cli import app\napp()\n")
    command.chmod(0o755)
    compiled = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    folders = ["/usr/lib/python3.11", "/usr/local/lib/python3.11/dist-packages"]
    # some packages carry templates that no Python can compile
    _works(["chroot", str(root), "/usr/bin/python3", *compiled, *folders])


def _site_of(python: Path) -> str:
    """Return the packages' folder of an environment whose Python is the image's.

    Raises:
        RuntimeError: it is another Python.
    """
    ask = "import sys, sysconfig; print(sys.version_info[:2], sysconfig.get_path('purelib'))"
    done = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True)
    version, _, folder = done.stdout.strip().rpartition(" ")
    if version != "(3, 11)":
        raise RuntimeError(f"the image needs packages for Python 3.11, and {python} is {version}")
    return folder


def _load(engine: Dockerd, tar: Path, name: str) -> None:
    if engine.has_image(name):
        return
    path = "ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    changes = [path, 'CMD ["/bin/sh"]', "ENV HOME=/root", "ENV TZ=UTC"]
    options = [word for change in changes for word in ("--change", change)]
    engine.docker("import", *options, str(tar), name)


def _link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _works(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} … failed:\n{done.stdout}\n{done.stderr}")
