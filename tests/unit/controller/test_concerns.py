"""What people are told of."""

from dataclasses import replace

import pytest

from reconciler.controller.board import Standing
from reconciler.controller.concerns import concerns
from reconciler.errors import Overloaded
from reconciler.model.status import SourceStatus
from tests.fakes.backend import KEY, FakeBackend
from tests.fakes.following import revision

pytestmark = pytest.mark.anyio

SOURCE = SourceStatus("https://git.test/x", "main", "", "1" * 40)


@pytest.fixture
async def backend(tmp_path):
    made = FakeBackend(tmp_path)
    await made.turn()
    yield made
    made.close()


def told(backend, source=SOURCE, trouble=None):
    return {k: one.text for k, one in concerns(backend.board.standing, source, trouble).items()}


async def test_where_all_is_well_nothing_concerns_anybody(backend):
    assert told(backend) == {}
    assert concerns(Standing(), None, None) == {}


async def test_a_drift_names_its_fields_and_no_value(backend):
    backend.following.live = "a value of theirs"
    await backend.turn()
    assert told(backend) == {f"drift:{KEY}": "description changed in the API"}


async def test_what_cannot_be_written_concerns_people_until_it_can(backend, tmp_path):
    backend.following.follower._source.snapshots = [revision("description: [", "2")]
    await backend.turn()
    # The source may know of a newer one, which nobody has read yet.
    [(key, text)] = told(backend, replace(SOURCE, revision="3" * 40)).items()
    assert key == f"manifests:{'2' * 40}"
    assert text.startswith("1 problem, the first: things.yaml:")


async def test_the_repository_and_the_server_concern_people_once_each(backend):
    broken = replace(SOURCE, error="the branch is gone")
    assert told(backend, broken, "no connection") == {
        "server:": "no connection",
        "source:": "the branch is gone",
    }
    standing = replace(backend.board.standing, error=Overloaded("busy"))
    assert list(concerns(standing, SOURCE, None)) == ["failed:"]
    assert list(concerns(standing, SOURCE, "busy")) == ["server:"]
