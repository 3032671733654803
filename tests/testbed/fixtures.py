"""Pytest fixtures for real Prefect servers; `tests/conftest.py` makes them known to every test.

A server lives as long as the xdist worker; each test that asks for one gets a fresh database.
What cannot start fails the test: nothing real is skipped.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.testbed.dockerd import Dockerd, shared
from tests.testbed.fault import FaultProxy
from tests.testbed.prefect import LABELS, PrefectServer

USES_SERVER = {"server", "prefect2", "prefect3", "fresh_server", "proxied", "automating"}
StartServer = Callable[..., PrefectServer]


@pytest.fixture(scope="session")
def prefect2_server() -> Iterator[PrefectServer]:
    """Prefect 2.20.26, shared by the tests of a worker and not cleaned; most tests want `server`."""
    with PrefectServer(2) as running:
        yield running


@pytest.fixture(scope="session")
def prefect3_server() -> Iterator[PrefectServer]:
    """Prefect 3.8.8, shared by the tests of a worker and not cleaned; most tests want `server`."""
    with PrefectServer(3) as running:
        yield running


@pytest.fixture(params=list(LABELS))
def server(request: pytest.FixtureRequest) -> PrefectServer:
    """A clean server; the test runs once on each version (`[2.20]`, `[3.x]`)."""
    return _clean(request, LABELS[request.param])


@pytest.fixture
def prefect2(request: pytest.FixtureRequest) -> PrefectServer:
    """A clean Prefect 2.20.26."""
    return _clean(request, 2)


@pytest.fixture
def prefect3(request: pytest.FixtureRequest) -> PrefectServer:
    """A clean Prefect 3.8.8."""
    return _clean(request, 3)


@pytest.fixture(scope="session")
def prefect2_automations_server() -> Iterator[PrefectServer]:
    """Prefect 2.20.26 with its automations turned on, shared like `prefect2_server`."""
    env = {
        "PREFECT_EXPERIMENTAL_EVENTS": "true",
        "PREFECT_API_SERVICES_TRIGGERS_ENABLED": "true",
        "PREFECT_API_SERVICES_EVENT_PERSISTER_ENABLED": "true",
    }
    with PrefectServer(2, env=env) as running:
        yield running


@pytest.fixture(params=list(LABELS))
def automating(request: pytest.FixtureRequest) -> PrefectServer:
    """A clean server that has automations; the test runs once on each version."""
    if request.param == "3.x":
        return _clean(request, 3)
    return _clean(request, 2, "prefect2_automations_server")


@pytest.fixture
def fresh_server() -> Iterator[StartServer]:
    """Start servers of the test's own: `fresh_server(3, auth_string="a:b", csrf=True, env={…})`.

    For tests that need settings, kill the server or measure it. Takes 5 s each.
    """
    started: list[PrefectServer] = []

    def start(major: int = 3, **options: object) -> PrefectServer:
        made = PrefectServer(major, **options)  # type: ignore[arg-type]
        started.append(made)
        return made.start()

    yield start
    for each in started:
        each.discard()


@pytest.fixture
def proxied(server: PrefectServer) -> Iterator[FaultProxy]:
    """A fault proxy in front of `server`; healthy until told otherwise."""
    with FaultProxy(server.url) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def dockerd() -> Iterator[Dockerd]:
    """A Docker engine, shared by all that this process tests; names of containers may be taken."""
    with shared() as engine:
        yield engine


def _clean(request: pytest.FixtureRequest, major: int, name: str | None = None) -> PrefectServer:
    running: PrefectServer = request.getfixturevalue(name or f"prefect{major}_server")
    if not running.running:
        running.restart()  # an earlier test killed it
    running.reset()
    return running
