"""The test bed's own Docker engine."""

import subprocess

import pytest

from tests.testbed import images
from tests.testbed.dockerd import Dockerd

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def links() -> str:
    command = ["ip", "-o", "link", "show", "type", "bridge"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_two_engines_beside_each_other_that_leave_no_trace():
    with Dockerd() as one, Dockerd() as two:
        for engine in (one, two):
            images.pybase(engine)
            engine.docker("network", "create", "extra")
        hello = ["run", "--name", "same", images.PYBASE, "python3", "-c", "print('hello')"]
        assert one.docker(*hello) == two.docker(*hello) == "hello\n"
        folders, bridges = (one.folder, two.folder), (one.bridge, two.bridge)
    assert not any(folder.exists() for folder in folders)
    assert not any(bridge in links() for bridge in bridges)
    assert "br-" not in links()


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
