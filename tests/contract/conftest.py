"""Fixtures of the matrix."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.bench import Bench
from tests.contract.notebook import Notebook
from tests.contract.platform import Platform
from tests.contract.platforms import PLATFORMS
from tests.integration.agents import ensure_pool
from tests.testbed.prefect import PrefectServer


@pytest.fixture(scope="session")
def running() -> Iterator[dict[str, Platform]]:
    """The platforms that this test process has started, by slug; each is started when needed."""
    started: dict[str, Platform] = {}
    yield started
    for platform in reversed(started.values()):
        platform.__exit__(None, None, None)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each scenario on every type that it makes sense on (`@pytest.mark.needs(Does.…)`)."""
    if "platform" not in metafunc.fixturenames:
        return
    marks = metafunc.definition.iter_markers("needs")
    needed = {what for mark in marks for what in mark.args}
    kinds = [
        pytest.param(each, id=each.slug, marks=pytest.mark.xdist_group(f"platform {each.slug}"))
        for each in PLATFORMS
        if needed <= each.can
    ]
    metafunc.parametrize("platform", kinds, indirect=True)


@pytest.fixture
def platform(request: pytest.FixtureRequest, running: dict[str, Platform]) -> Platform:
    """A platform with nothing of us on it; the test runs once on each type."""
    kind = request.param
    if kind.slug not in running:
        running[kind.slug] = kind().__enter__()
    running[kind.slug].clear()
    return running[kind.slug]


@pytest.fixture
def bench(prefect3, platform, tmp_path) -> Iterator[Bench]:
    """Prefect 3.8.8, a platform and agents to start."""
    with _bench(prefect3, platform, tmp_path) as made:
        yield made


@pytest.fixture
def bench_on_both(server, platform, tmp_path) -> Iterator[Bench]:
    """The same, once with each Prefect version."""
    with _bench(server, platform, tmp_path) as made:
        yield made


@contextmanager
def _bench(server: PrefectServer, platform: Platform, folder: Path) -> Iterator[Bench]:
    with server.client() as client, Notebook() as notebook:
        client.timeout = 90
        ensure_pool(client)
        made = Bench(server, client, platform, notebook, folder)
        try:
            yield made
        finally:
            made.close()
            platform.clear()
