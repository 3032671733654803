"""Large trees are quick enough for a service that looks every few seconds."""

import time

import pytest

from reconciler.source.checkouts import Checkouts
from reconciler.source.directory import DirectorySource
from reconciler.source.git import GitSource
from tests.testbed.git import Repository

pytestmark = pytest.mark.anyio
FILES = 5000


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    made = Repository.create(tmp_path_factory.mktemp("large"))
    for number in range(FILES):
        made.put(f"d{number % 50}/{number}.yaml", f"kind: Block\nname: b{number}\n")
    made.commit()
    return made


async def test_directory_of_five_thousand_files(work):
    source = DirectorySource(work.path)
    start = time.perf_counter()
    snapshot = await source.fetch()
    assert len(snapshot.files) == FILES
    assert time.perf_counter() - start < 5


async def test_repository_of_five_thousand_files(work, tmp_path):
    source = GitSource(str(work.path), mirror_dir=tmp_path / "mirrors")
    start = time.perf_counter()
    snapshot = await source.fetch()
    contents = [snapshot.contents.read(file) for file in snapshot.files]
    assert len(contents) == FILES
    assert time.perf_counter() - start < 10
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        await source.fetch()
        spent.append(time.perf_counter() - start)
    assert min(spent) < 1


async def test_checkout_of_five_thousand_files(work, tmp_path):
    snapshot = await DirectorySource(work.path).fetch()
    start = time.perf_counter()
    checkout = await Checkouts(tmp_path).of(snapshot)
    assert (checkout.path / "d7" / "7.yaml").is_file()
    assert time.perf_counter() - start < 10
