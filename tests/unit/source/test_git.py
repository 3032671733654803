"""A git repository read from its objects."""

import os
import shutil
from pathlib import Path

import pytest

from reconciler.errors import SourceError, SourceUnavailable
from reconciler.model.snapshot import File
from reconciler.source.directory import DirectorySource
from reconciler.source.git import GitSource
from reconciler.source.git.command import Git
from reconciler.source.git.objects import Trees, list_tree
from reconciler.source.tree import LINK, NESTED
from tests.testbed.git import Repository, git

pytestmark = pytest.mark.anyio


def paths(snapshot):
    return [file.path for file in snapshot.files]


@pytest.fixture
def work(tmp_path):
    made = Repository.create(tmp_path / "work")
    made.put("a.yaml", "kind: Block\n").put("flows/etl.py", "print(1)\n")
    made.commit()
    return made


@pytest.fixture
def remote(work, tmp_path):
    return work.publish(tmp_path / "remote.git")


@pytest.fixture
def source_of(remote, tmp_path):
    def make(ref=None, path="", location=None):
        return GitSource(location or str(remote), ref, path, mirror_dir=tmp_path / "mirrors")

    return make


async def test_remote_head_is_the_default(source_of, work):
    snapshot = await source_of().fetch()
    assert snapshot.revision == snapshot.commit == work.head()
    assert paths(snapshot) == ["a.yaml", "flows/etl.py"]
    assert snapshot.read("a.yaml") == b"kind: Block\n"
    assert snapshot.verified
    assert snapshot.origin.roots == (work.head(),)


async def test_git_and_directory_give_the_same_tree(source_of, work):
    work.put("run.sh", "#!/bin/sh\n").put("empty.yaml", "")
    (work.path / "run.sh").chmod(0o755)
    (work.path / "link.yaml").symlink_to("a.yaml")
    work.commit()
    there = await source_of(location=str(work.path)).fetch()
    here = await DirectorySource(work.path).fetch()
    assert (there.revision, there.digest) == (here.revision, here.digest)
    assert there.files == here.files
    assert there.passed_over == here.passed_over
    assert there.origin.roots == here.origin.roots
    assert all(there.read(path) == here.read(path) for path in paths(here))


async def test_folder_is_the_root_of_the_tree(source_of, work, remote):
    work.put("teams/a/x.yaml", "1")
    work.commit()
    work.publish(remote)
    snapshot = await source_of(path="./teams//a/").fetch()
    assert paths(snapshot) == ["x.yaml"]
    assert snapshot.origin.path == "teams/a"
    here = await DirectorySource(work.path / "teams" / "a").fetch()
    assert (snapshot.revision, snapshot.digest) == (here.revision, here.digest)


@pytest.mark.parametrize("path", ["missing", "a.yaml", "link", "link/x"])
async def test_folder_that_is_none_is_named(source_of, work, remote, path):
    (work.path / "link").symlink_to("flows")
    work.commit()
    work.publish(remote)
    with pytest.raises(SourceError, match="has no folder"):
        await source_of(path=path).fetch()


@pytest.mark.parametrize("path", ["/etc", "../x", "a/../../b", "-x", "a\nb"])
def test_folder_outside_the_repository_is_refused(source_of, path):
    with pytest.raises(SourceError, match="is no folder of a repository"):
        source_of(path=path)


async def test_refs_are_branch_tag_or_commit(source_of, work, remote):
    first = work.head()
    work.git("tag", "light")
    work.git("tag", "-a", "heavy", "-m", "x")
    work.put("b.yaml", "b")
    second = work.commit()
    work.git("branch", "team/branch")
    work.put("c.yaml", "c")
    work.commit()
    work.publish(remote)
    expected = {
        "light": first,
        "heavy": first,
        "refs/tags/heavy": first,
        "team/branch": second,
        "refs/heads/team/branch": second,
        first: first,
        second[:9]: second,
        "HEAD": work.head(),
    }
    for ref, commit in expected.items():
        assert (await source_of(ref).fetch()).revision == commit, ref


async def test_branch_goes_before_a_tag_of_the_same_name(source_of, work, remote):
    work.git("tag", "v1")
    work.put("b.yaml", "b")
    second = work.commit()
    work.git("branch", "v1")
    work.publish(remote)
    assert (await source_of("v1").fetch()).revision == second


async def test_detached_commit_is_found_by_its_id(source_of, work, remote):
    work.put("b.yaml", "b")
    second = work.commit()
    work.publish(remote)
    work.git("reset", "-q", "--hard", "HEAD~1")
    work.publish(remote)
    assert (await source_of(second).fetch()).revision == second


async def test_known_commit_needs_no_remote(source_of, work, remote):
    source = source_of(work.head())
    await source.fetch()
    remote.rename(remote.with_name("gone"))
    assert (await source.fetch()).revision == work.head()


@pytest.mark.parametrize("ref", ["nowhere", "deadbeef", "f" * 40, "refs/heads/x"])
async def test_ref_that_is_gone_is_named(source_of, ref):
    with pytest.raises(SourceError, match="has no branch, tag or commit"):
        await source_of(ref).fetch()


async def test_tag_of_a_tree_is_no_commit(source_of, work, remote):
    work.git("tag", "tree", work.git("rev-parse", "HEAD^{tree}"))
    work.publish(remote)
    with pytest.raises(SourceError, match="is not a commit"):
        await source_of("tree").fetch()


@pytest.mark.parametrize(
    "ref",
    [
        "-x",
        "--upload-pack=touch x",
        "a b",
        "a..b",
        "a:b",
        "a^",
        "+a",
        "",
        "a*",
        "a@{1}",
        "/a",
        "a/",
    ],
)
def test_ref_that_could_be_an_option_or_a_pattern_is_refused(source_of, ref):
    with pytest.raises(SourceError, match="is no name of a branch"):
        source_of(ref)


async def test_new_commits_and_force_pushes_are_followed(source_of, work, remote):
    source = source_of("main")
    await source.fetch()
    work.put("b.yaml", "b")
    second = work.commit()
    work.publish(remote)
    assert (await source.fetch()).revision == second
    work.git("reset", "-q", "--hard", "HEAD~1")
    work.put("c.yaml", "c")
    third = work.commit()
    work.publish(remote)
    snapshot = await source.fetch()
    assert snapshot.revision == third
    assert paths(snapshot) == ["a.yaml", "c.yaml", "flows/etl.py"]


async def test_old_snapshot_stays_readable_after_a_force_push(source_of, work, remote):
    source = source_of()
    old = await source.fetch()
    work.git("commit", "--amend", "-q", "-m", "other")
    work.put("a.yaml", "other")
    work.commit()
    work.publish(remote)
    await source.fetch()
    assert old.read("a.yaml") == b"kind: Block\n"


async def test_branch_replaced_by_a_folder_of_branches(source_of, work, remote):
    work.git("branch", "team")
    work.publish(remote)
    await source_of("team").fetch()
    work.git("branch", "-D", "team")
    work.git("branch", "team/a")
    work.publish(remote)
    assert (await source_of("team/a").fetch()).revision == work.head()
    with pytest.raises(SourceError, match="'team'"):
        await source_of("team").fetch()


async def test_search_survives_a_branch_replaced_by_a_folder_of_branches(source_of, work, remote):
    first = work.head()
    work.git("branch", "team")
    work.publish(remote)
    assert (await source_of(first[:8]).fetch()).revision == first
    work.git("branch", "-D", "team")
    work.put("b.yaml", "b")
    second = work.commit()
    work.git("branch", "team/a")
    work.publish(remote)
    assert (await source_of(second[:8]).fetch()).revision == second


async def test_empty_repository_says_so(tmp_path, source_of):
    empty = tmp_path / "empty.git"
    empty.mkdir()
    git(empty, "init", "-q", "--bare")
    with pytest.raises(SourceError, match="has no commits"):
        await source_of(location=str(empty)).fetch()


async def test_last_good_tree_outlives_remote_and_process(source_of, work, remote):
    source = source_of()
    assert await source.last_good() is None
    await source.fetch()
    remote.rename(remote.with_name("gone"))
    with pytest.raises(SourceError):
        await source.fetch()
    for later in (source, GitSource(remote.as_uri(), mirror_dir=remote.parent / "mirrors")):
        kept = await later.last_good()
        assert kept.revision == work.head()
        assert kept.read("a.yaml") == b"kind: Block\n"


async def test_links_and_submodules_are_passed_over(source_of, work, remote, tmp_path):
    other = Repository.create(tmp_path / "other")
    other.commit()
    work.git("submodule", "--quiet", "add", other.path.as_uri(), "sub")
    (work.path / "out").symlink_to("/etc/passwd")
    work.commit()
    work.publish(remote)
    snapshot = await source_of().fetch()
    assert snapshot.passed_over == (("out", LINK), ("sub", NESTED))
    assert paths(snapshot) == [".gitmodules", "a.yaml", "flows/etl.py"]


async def test_weird_names_are_read(source_of, work, remote):
    names = ["ünï.yaml", "line\nbreak.yaml", "tab\t.yaml", ":(glob)*.yaml", "-x.yaml"]
    for name in names:
        work.put(name, name)
    (work.path / os.fsdecode(b"caf\xe9.yaml")).write_text("a")
    work.commit()
    work.publish(remote)
    snapshot = await source_of().fetch()
    assert set(names) < set(paths(snapshot))
    assert all(snapshot.read(name) == name.encode() for name in names)
    assert snapshot.passed_over == (("caf\\xe9.yaml", "its name is not UTF-8"),)


async def test_tree_made_to_leave_the_checkout_is_passed_over(source_of, work, remote):
    blob = work.git("hash-object", "-w", "a.yaml")
    evil = git(work.path, "mktree", "--missing", stdin=f"100644 blob {blob}\t..\n".encode())
    tree = git(work.path, "mktree", stdin=f"040000 tree {evil}\t.GIT\n".encode())
    work.git("update-ref", "refs/heads/main", work.git("commit-tree", tree, "-m", "evil"))
    work.publish(remote)
    snapshot = await source_of().fetch()
    assert snapshot.files == ()
    assert "leads out of the tree" in snapshot.passed_over[0][1]


async def test_location_may_need_quoting(source_of, work, tmp_path):
    odd = work.publish(tmp_path / "with blank%20and #ümlaut.git")
    for location in (str(odd), odd.as_uri()):
        snapshot = await source_of(location=location).fetch()
        assert snapshot.revision == work.head()


async def test_relative_path_is_a_local_repository(remote, work, tmp_path, monkeypatch):
    monkeypatch.chdir(remote.parent)
    source = GitSource("remote.git", mirror_dir=tmp_path / "mirrors")
    assert (await source.fetch()).origin.location == str(remote)


async def test_local_folder_without_a_repository(tmp_path, source_of):
    (tmp_path / "plain").mkdir()
    with pytest.raises(SourceError, match="there is no git repository"):
        await source_of(location=str(tmp_path / "plain")).fetch()


@pytest.mark.parametrize("name", ["config", "packed-refs", "shallow", "refs/kept/*"])
async def test_locks_of_a_killed_git_do_not_stop_us(source_of, work, remote, tmp_path, name):
    await source_of().fetch()
    (mirror,) = (tmp_path / "mirrors").glob("*.git")
    identity = mirror.stat().st_ino
    for locked in list(mirror.glob(name)) or [mirror / name]:
        locked.with_name(f"{locked.name}.lock").write_text("")
    work.put("b.yaml", "b")
    second = work.commit()
    work.publish(remote)
    assert (await source_of().fetch()).revision == second
    assert mirror.stat().st_ino == identity  # swept, not made anew


async def test_mirror_that_is_no_repository_any_more_is_made_anew(source_of, work, tmp_path):
    await source_of().fetch()
    (mirror,) = (tmp_path / "mirrors").glob("*.git")
    (mirror / "config").write_text("[broken\n")
    assert (await source_of().fetch()).revision == work.head()


async def test_missing_object_is_an_error_and_the_next_read_works(source_of, work):
    snapshot = await source_of().fetch()
    with pytest.raises(SourceError, match=r"gone\.yaml can't be read"):
        snapshot.contents.read(File("gone.yaml", "0" * 40, 1))
    assert snapshot.read("a.yaml") == b"kind: Block\n"


async def test_settings_of_another_git_do_not_mislead(source_of, work, tmp_path, monkeypatch):
    other = Repository.create(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "objects"))
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    snapshot = await source_of().fetch()
    assert paths(snapshot) == ["a.yaml", "flows/etl.py"]
    assert not (tmp_path / "trace").exists()


async def test_shallow_repository_by_path_is_read_without_roots(source_of, work, tmp_path):
    work.commit("second")
    git(tmp_path, "clone", "-q", "--depth=1", work.path.as_uri(), "shallow")
    snapshot = await source_of(location=str(tmp_path / "shallow")).fetch()
    assert snapshot.revision == work.head()
    assert snapshot.origin.roots == ()


async def test_a_clone_by_path_knows_branches_of_its_remote(source_of, work, remote, tmp_path):
    branch = git(work.path, "branch", "--show-current")
    git(tmp_path, "clone", "-q", str(remote), "clone")
    git(tmp_path / "clone", "checkout", "-q", "--detach")
    git(tmp_path / "clone", "branch", "-q", "-D", branch)
    source = source_of(f"origin/{branch}", location=str(tmp_path / "clone"))
    assert (await source.fetch()).revision == work.head()


async def test_refused_connection_passes_by_itself(tmp_path):
    source = GitSource("http://127.0.0.1:9/x.git", mirror_dir=tmp_path)
    with pytest.raises(SourceUnavailable, match="can't be reached"):
        await source.fetch()


async def test_mirror_dir_is_hidden_from_git(source_of, tmp_path):
    await source_of().fetch()
    assert (tmp_path / "mirrors" / ".gitignore").read_text() == "*\n"


async def test_the_next_tree_costs_what_differs(source_of, work, remote, tmp_path):
    for number in range(150):
        work.put(f"many/{number}.yaml", f"n: {number}\n")
    work.commit()
    work.publish(remote)
    source = source_of()
    before = {file.path: file for file in (await source.fetch()).files}
    work.put("many/7.yaml", "n: seven\n").put(":(top)a.yaml", "n: 1\n")
    (work.path / "many" / "8.yaml").unlink()
    work.commit()
    work.publish(remote)
    now = await source.fetch()
    assert now.files == (await source_of().fetch()).files
    same = [file for file in now.files if before.get(file.path) is file]
    assert len(same) == 150, "they were taken from the tree before"
    for number in range(150):  # too many to name each
        work.put(f"many/{number}.yaml", f"n: {number}00\n")
    work.commit()
    work.publish(remote)
    assert (await source.fetch()).files == (await source_of().fetch()).files
    assert (await source.fetch()).read("many/8.yaml") == b"n: 800\n"


async def test_a_tree_is_listed_whole_where_the_one_before_is_gone(
    source_of, work, remote, tmp_path
):
    source = source_of()
    await source.fetch()
    [mirror] = (path for path in (tmp_path / "mirrors").iterdir() if path.is_dir())
    shutil.rmtree(mirror)
    work.git("checkout", "-q", "--orphan", "another")
    work.put("b.yaml", "b\n").commit()
    work.git("branch", "-M", "main")
    shutil.rmtree(remote)
    work.publish(remote)
    assert paths(await source.fetch()) == ["a.yaml", "b.yaml", "flows/etl.py"]


def raw_tree(work, *entries):
    """Commit a tree as no git would make it; return the commit."""
    blob = work.git("hash-object", "-w", "a.yaml")
    inner = b"100644 x\0" + bytes.fromhex(blob)
    folder = git(
        work.path, "hash-object", "-w", "-t", "tree", "--literally", "--stdin", stdin=inner
    )
    kinds = {"file": (b"100644", blob), "folder": (b"40000", folder)}
    content = b"".join(
        kinds[kind][0] + b" " + name.encode() + b"\0" + bytes.fromhex(kinds[kind][1])
        for name, kind in entries
    )
    tree = git(
        work.path, "hash-object", "-w", "-t", "tree", "--literally", "--stdin", stdin=content
    )
    return work.git("commit-tree", tree, "-m", "x")


@pytest.mark.parametrize(
    "trees",
    [
        [[("x", "file")], [(".", "folder"), ("x", "file")], [("x", "file")]],
        [[("a", "file")], [(".", "folder"), ("x", "file")]],
        [[("x", "file")], [("d", "folder")], [("..", "folder"), ("d", "folder"), ("x", "file")]],
        [[("d", "file"), ("d", "folder")], [("d", "folder")], [("d", "file"), ("d", "folder")]],
    ],
)
def test_trees_that_no_git_makes_are_listed_as_a_whole(work, trees):
    here = Git(work.path)
    listings = Trees(here)
    for entries in trees:
        tree = f"{raw_tree(work, *entries)}:"
        assert listings.list(tree) == list_tree(here, tree), entries


async def test_snapshot_is_not_read_again_while_the_ref_stays(source_of):
    source = source_of()
    assert await source.fetch() is await source.fetch()


def test_location_that_does_not_exist(tmp_path):
    with pytest.raises(SourceError, match="is no directory"):
        GitSource(str(Path(tmp_path, "nowhere")), mirror_dir=tmp_path)
