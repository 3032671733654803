"""Any tree reads the same from the directory and from git."""

import os
import shutil
import tempfile
from pathlib import Path

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.source.checkouts import Checkouts
from reconciler.source.directory import DirectorySource
from reconciler.source.git import GitSource
from reconciler.source.git.command import Git
from reconciler.source.git.objects import Trees, list_tree
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


NAMES = [
    "a",
    "b",
    "*",
    "[ab]",
    ":(top)a",
    "-r",
    "\\xff",
    os.fsdecode(b"\xff"),
    "ä b",
    "c\nd",
    "x" * 250,
]
"""Few, so that a file becomes a folder or a link; and such that git may read as something else."""
NAME = st.sampled_from(NAMES)
NODE = st.one_of(LEAF, st.sampled_from(["a", "../a"]))
CHANGING = st.dictionaries(
    NAME,
    st.recursive(NODE, lambda inner: st.dictionaries(NAME, inner, max_size=3), max_leaves=6),
    max_size=6,
)


def rewrite(folder, tree):
    folder.mkdir(exist_ok=True)
    for name, node in tree.items():
        if isinstance(node, dict):
            rewrite(folder / name, node)
        elif isinstance(node, str):
            (folder / name).symlink_to(node)
        else:
            write(folder, {name: node})


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(CHANGING, min_size=2, max_size=5))
def test_a_tree_listed_by_what_differs_is_that_tree(trees):
    with tempfile.TemporaryDirectory() as scratch:
        work = Repository.create(Path(scratch) / "work")
        git = Git(work.path)
        listings = Trees(git)
        for tree in trees:
            shutil.rmtree(work.path / "all", ignore_errors=True)
            rewrite(work.path / "all", tree)
            (work.path / "all" / "always").write_text("x")
            head = work.commit()
            assert listings.list(f"{head}:all") == list_tree(git, f"{head}:all")
