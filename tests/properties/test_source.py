"""Any tree reads the same from the directory and from git."""

import tempfile
from pathlib import Path

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.source.checkouts import Checkouts
from reconciler.source.directory import DirectorySource
from reconciler.source.git import GitSource
from tests.testbed.git import Repository

SEGMENT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=6
).filter(lambda s: s not in {".", ".."} and s.lower() != ".git" and len(s.encode()) < 200)
CONTENT = st.binary(max_size=200)
LEAF = st.tuples(CONTENT, st.booleans())
TREE = st.recursive(LEAF, lambda inner: st.dictionaries(SEGMENT, inner, max_size=4), max_leaves=8)


def write(folder, tree):
    for name, node in tree.items():
        if isinstance(node, dict):
            (folder / name).mkdir()
            write(folder / name, node)
        else:
            (folder / name).write_bytes(node[0])
            (folder / name).chmod(0o755 if node[1] else 0o644)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(SEGMENT, TREE, max_size=5))
def test_directory_git_and_checkout_agree_on_any_tree(tree):
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        work = Repository.create(base / "work")
        write(work.path, tree)
        work.git("add", "--all", "--force")
        work.git("commit", "-q", "--allow-empty", "-m", "x")
        anyio.run(compare, work, base)


async def compare(work, base):
    here = await DirectorySource(work.path).fetch()
    there = await GitSource(str(work.path), mirror_dir=base / "mirrors").fetch()
    assert here.revision == there.revision == work.head()
    assert here.digest == there.digest
    assert here.files == there.files
    assert here.passed_over == there.passed_over
    checkout = await Checkouts(base / "state").of(there)
    copied = await DirectorySource(checkout.path).fetch()
    for file in there.files:
        content = there.contents.read(file)
        assert content == here.contents.read(file)
        assert content == (checkout.path / file.path).read_bytes()
    assert {file.path for file in copied.files} <= {file.path for file in here.files}
