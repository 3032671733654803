"""Fixtures for every test."""

import re
import zlib

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
from tests.testbed.prefect import LABELS


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


# How long an example takes says nothing on machines that do other work too.
hypothesis.settings.register_profile("steady", hypothesis.settings(deadline=None))
hypothesis.settings.load_profile("steady")

ORDER = ("unit", "properties", "integration", "e2e", "contract")
"""Fast ones first; what waits for Kubernetes, built in the background at first, comes last."""


LABEL = re.compile("|".join(map(re.escape, LABELS)))


def pytest_addoption(parser):
    parser.addoption(
        "--by-turns",
        type=int,
        metavar="TURN",
        help="of each test that runs on both Prefect versions run one, the other one next TURN",
    )


def pytest_collection_modifyitems(config, items):
    """Mark what asks for a real server, so that `-m "not prefect"` means 'fast'; sort by speed."""
    turn = config.getoption("--by-turns")
    if turn is not None:
        known = {item.nodeid for item in items}
        waiting = {item for item in items if not _its_turn(item, turn, known)}
        config.hook.pytest_deselected(items=list(waiting))
        items[:] = [item for item in items if item not in waiting]
    for item in items:
        if USES_SERVER & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.prefect)
    items.sort(key=_rank)


def _its_turn(item, turn, known):
    """Tell whether a test runs this time; one without a twin on the other version always does."""
    label = LABEL.search(item.name)
    if label is None:
        return True
    at = list(LABELS).index(label[0])
    twins = [item.nodeid.replace(label[0], each) for each in LABELS]
    first = zlib.crc32(item.nodeid.replace(label[0], "").encode()) + turn
    return not known.issuperset(twins) or at == first % len(LABELS)


def _rank(item):
    rank = ORDER.index(item.path.relative_to(item.config.rootpath / "tests").parts[0])
    return len(ORDER) if rank > 1 and "kubernetes" in item.nodeid else rank
