"""The test bed's own Docker engine."""

import subprocess

import pytest

from tests.testbed import images
from tests.testbed.dockerd import Dockerd

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def links() -> set[str]:
    """Return the bridges as `index: name`; names come again (other tests' engines), numbers don't."""
    command = ["ip", "-o", "link", "show", "type", "bridge"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {" ".join(line.split()[:2]) for line in told.splitlines()}


def networks(engine) -> list[str]:
    return engine.docker("network", "ls", "-q").split()


def test_two_engines_beside_each_other_that_leave_no_trace():
    before = links()
    with Dockerd() as one, Dockerd() as two:
        for engine in (one, two):
            images.pybase(engine)
            engine.docker("network", "create", "extra")
        hello = ["run", "--name", "same", images.PYBASE, "python3", "-c", "print('hello')"]
        assert one.docker(*hello) == two.docker(*hello) == "hello\n"
        folders = (one.folder, two.folder)
        # Of these engines alone: another test's may come up beside them.
        names = {f"{engine.bridge}:" for engine in (one, two)}
        names |= {f"br-{id_[:12]}:" for engine in (one, two) for id_ in networks(engine)}
        added = {link for link in links() - before if link.split()[1] in names}
    assert len(added) == 4
    assert [folder for folder in folders if folder.exists()] == []
    assert links() & added == set()


def test_containers_are_privileged_limited_and_reach_the_machine(dockerd):
    images.pybase(dockerd)
    probe = "import socket; print(socket.gethostbyname('host.docker.internal'))"
    options = ["--rm", "--privileged", "-m", "64m", "--add-host"]
    told = dockerd.docker(
        "run", *options, "host.docker.internal:host-gateway", images.PYBASE, "python3", "-c", probe
    )
    assert told.strip() == dockerd.gateway


def test_an_image_with_prefect(dockerd):
    name = images.prefect(dockerd, 3)
    assert dockerd.docker("run", "--rm", name, "prefect", "--version").strip() == "3.8.8"
