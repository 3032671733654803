"""Fixtures for every test."""

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


def pytest_collection_modifyitems(items):
    """Mark whatever asks for a real server, so that `-m "not prefect"` means 'fast'."""
    for item in items:
        if USES_SERVER & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.prefect)
