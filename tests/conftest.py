"""Fixtures for every test."""

import hypothesis
import pytest

from tests.testbed.fixtures import (  # noqa: F401 - fixtures become known by their import here
    USES_SERVER,
    automating,
    dockerd,
    fresh_server,
    prefect2,
    prefect2_automations_server,
    prefect2_server,
    prefect3,
    prefect3_server,
    proxied,
    server,
)


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


# How long an example takes says nothing on machines that do other work too.
hypothesis.settings.register_profile("steady", hypothesis.settings(deadline=None))
hypothesis.settings.load_profile("steady")

ORDER = ("unit", "properties", "integration", "e2e", "contract")
"""Fast ones first; what waits for Kubernetes, built in the background at first, comes last."""


def pytest_collection_modifyitems(items):
    """Mark what asks for a real server, so that `-m "not prefect"` means 'fast'; sort by speed."""
    for item in items:
        if USES_SERVER & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.prefect)
    items.sort(key=_rank)


def _rank(item):
    rank = ORDER.index(item.path.relative_to(item.config.rootpath / "tests").parts[0])
    return len(ORDER) if rank > 1 and "kubernetes" in item.nodeid else rank
