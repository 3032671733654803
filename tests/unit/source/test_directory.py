"""A directory as it is on disk."""

import os
import socket
import threading
from contextlib import contextmanager

import pytest

from reconciler.errors import SourceError
from reconciler.model.snapshot import File
from reconciler.source.base import SourceChanged
from reconciler.source.directory import DirectorySource
from reconciler.source.scan import Rules, read_file, scan
from reconciler.source.tree import LINK, NESTED, SPECIAL, digest
from tests.testbed.git import Repository, git

pytestmark = pytest.mark.anyio


def paths(snapshot):
    return [file.path for file in snapshot.files]


@contextmanager
def as_nobody():
    """Give up root's right to read everything, where we are root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def repository(tmp_path):
    made = Repository.create(tmp_path / "work")
    made.put("a.yaml", "kind: Block\n").put("flows/etl.py", "print(1)\n")
    made.commit()
    return made


async def test_clean_tree_has_the_commit_as_revision(repository):
    snapshot = await DirectorySource(repository.path).fetch()
    assert snapshot.revision == snapshot.commit == repository.head()
    assert paths(snapshot) == ["a.yaml", "flows/etl.py"]
    assert snapshot.verified
    assert snapshot.passed_over == ()
    assert snapshot.origin.roots == (repository.head(),)
    assert snapshot.origin.path == ""
    assert snapshot.read("a.yaml") == b"kind: Block\n"
    assert snapshot.read("b.yaml") is None


async def test_blob_ids_are_gits_own(repository):
    snapshot = await DirectorySource(repository.path).fetch()
    for file in snapshot.files:
        assert file.blob == repository.git("rev-parse", f"HEAD:{file.path}")
        assert file.size == len(snapshot.contents.read(file))


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.put("a.yaml", "kind: Deployment\n"),
        lambda r: r.put("new.yaml", "kind: Block\n"),
        lambda r: (r.path / "a.yaml").unlink(),
        lambda r: (r.path / "a.yaml").chmod(0o755),
    ],
    ids=["edited", "untracked", "removed", "made executable"],
)
async def test_any_difference_from_the_commit_is_dirt(repository, change):
    clean = await DirectorySource(repository.path).fetch()
    change(repository)
    dirty = await DirectorySource(repository.path).fetch()
    assert dirty.digest != clean.digest
    assert dirty.revision == f"{repository.head()}+dirty:{dirty.digest[7:23]}"
    assert dirty.commit == repository.head()


async def test_same_content_has_the_same_digest_whatever_the_commit(repository):
    before = await DirectorySource(repository.path).fetch()
    repository.commit("squash")
    after = await DirectorySource(repository.path).fetch()
    assert after.digest == before.digest
    assert after.revision != before.revision


async def test_moving_content_between_files_changes_the_digest():
    one = [File("a", "1" * 40, 1), File("b", "2" * 40, 1)]
    other = [File("a", "2" * 40, 1), File("b", "1" * 40, 1)]
    assert digest(one) != digest(other)
    assert digest(one) == digest(reversed(one))
    assert digest([File("a", "1" * 40, 1)]) != digest([File("b", "1" * 40, 1)])


async def test_gitignore_is_honoured(repository):
    repository.put(".gitignore", "build/\n*.tmp\n!keep.tmp\n").put("build/x.yaml", "a")
    repository.put("x.tmp", "").put("keep.tmp", "").put("flows/.gitignore", "local.py\n")
    repository.put("flows/local.py", "").put("flows/other.py", "")
    snapshot = await DirectorySource(repository.path).fetch()
    assert paths(snapshot) == [
        ".gitignore",
        "a.yaml",
        "flows/.gitignore",
        "flows/etl.py",
        "flows/other.py",
        "keep.tmp",
    ]


async def test_tracked_file_in_an_ignored_folder_counts(repository):
    repository.put(".gitignore", "build/\n").put("build/kept.yaml", "a").put("build/b.yaml", "b")
    repository.git("add", "--force", "build/kept.yaml")
    repository.commit()
    snapshot = await DirectorySource(repository.path).fetch()
    assert "build/kept.yaml" in paths(snapshot)
    assert "build/b.yaml" not in paths(snapshot)
    assert snapshot.revision == repository.head()


async def test_gitignore_is_honoured_outside_git_too(tmp_path):
    (tmp_path / ".gitignore").write_text(".venv/\n")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "x.yaml").write_text("a")
    (tmp_path / "a.yaml").write_text("a")
    snapshot = await DirectorySource(tmp_path).fetch()
    assert paths(snapshot) == [".gitignore", "a.yaml"]
    assert snapshot.revision == snapshot.digest
    assert snapshot.revision.startswith("sha256:")
    assert snapshot.commit is None
    assert snapshot.origin.roots == ()


async def test_folder_of_a_work_tree_is_a_tree_of_its_own(repository):
    repository.put("teams/a/x.yaml", "1").put("teams/b/y.yaml", "2").put(".gitignore", "y.yaml\n")
    commit = repository.commit()
    snapshot = await DirectorySource(repository.path / "teams" / "a").fetch()
    assert paths(snapshot) == ["x.yaml"]
    assert snapshot.origin.path == "teams/a"
    assert snapshot.revision == commit
    repository.put("teams/b/z.yaml", "dirt elsewhere")
    assert (await DirectorySource(repository.path / "teams" / "a").fetch()).revision == commit


async def test_folder_that_is_not_committed_yet_is_dirty(repository):
    repository.put("new/x.yaml", "1")
    snapshot = await DirectorySource(repository.path / "new").fetch()
    assert snapshot.revision.startswith(f"{repository.head()}+dirty:")


async def test_folder_that_git_ignores_is_read_as_outside_git(repository):
    repository.put(".gitignore", "scratch/\n").put("scratch/x.yaml", "1")
    repository.commit()
    snapshot = await DirectorySource(repository.path / "scratch").fetch()
    assert paths(snapshot) == ["x.yaml"]
    assert snapshot.revision == snapshot.digest


async def test_repository_without_commits(tmp_path):
    repository = Repository.create(tmp_path).put("a.yaml", "a")
    snapshot = await DirectorySource(repository.path).fetch()
    assert snapshot.revision == snapshot.digest
    assert snapshot.commit is None
    assert snapshot.origin.roots == ()


async def test_shallow_clone_does_not_pretend_to_know_the_roots(repository, tmp_path):
    repository.commit("second")
    git(tmp_path, "clone", "-q", "--depth=1", repository.path.as_uri(), "shallow")
    snapshot = await DirectorySource(tmp_path / "shallow").fetch()
    assert snapshot.revision == repository.head()
    assert snapshot.origin.roots == ()


async def test_linked_work_tree_is_a_work_tree(repository, tmp_path):
    repository.git("worktree", "add", "-q", str(tmp_path / "second"))
    snapshot = await DirectorySource(tmp_path / "second").fetch()
    assert snapshot.revision == repository.head()
    assert paths(snapshot) == ["a.yaml", "flows/etl.py"]


async def test_repository_with_sha256_names_blobs_so(tmp_path):
    repository = Repository.create(tmp_path, "--object-format=sha256").put("a.yaml", "a")
    commit = repository.commit()
    snapshot = await DirectorySource(tmp_path).fetch()
    assert snapshot.revision == commit
    assert snapshot.files[0].blob == repository.git("rev-parse", "HEAD:a.yaml")
    assert snapshot.read("a.yaml") == b"a"


async def test_links_are_never_followed(repository, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.yaml").write_text("secret")
    for name, target in {
        "out.yaml": tmp_path / "outside" / "secret.yaml",
        "folder": tmp_path / "outside",
        "inside.yaml": "a.yaml",
        "loop": ".",
        "itself": "itself",
        "dangling.yaml": "nowhere",
    }.items():
        (repository.path / name).symlink_to(target)
    snapshot = await DirectorySource(repository.path).fetch()
    assert paths(snapshot) == ["a.yaml", "flows/etl.py"]
    names = ("dangling.yaml", "folder", "inside.yaml", "itself", "loop", "out.yaml")
    assert snapshot.passed_over == tuple((name, LINK) for name in names)
    assert snapshot.verified


async def test_folder_replaced_by_a_link_does_not_lead_out(repository, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "etl.py").write_text("print(1)\n")
    source = DirectorySource(repository.path)
    before = await source.fetch()
    (repository.path / "flows" / "etl.py").unlink()
    (repository.path / "flows").rmdir()
    (repository.path / "flows").symlink_to(tmp_path / "outside")
    with pytest.raises(SourceChanged):
        before.read("flows/etl.py")
    after = await source.fetch()
    assert paths(after) == ["a.yaml"]
    assert after.passed_over == (("flows", LINK),)


async def test_file_replaced_by_a_link_is_not_read_even_with_equal_content(repository, tmp_path):
    before = await DirectorySource(repository.path).fetch()
    (repository.path / "a.yaml").rename(tmp_path / "moved.yaml")
    (repository.path / "a.yaml").symlink_to(tmp_path / "moved.yaml")
    with pytest.raises(SourceChanged):
        before.read("a.yaml")


async def test_path_itself_may_be_a_link(repository, tmp_path):
    (tmp_path / "current").symlink_to(repository.path)
    snapshot = await DirectorySource(tmp_path / "current").fetch()
    assert snapshot.revision == repository.head()


async def test_special_files_are_passed_over_and_block_nothing(repository):
    os.mkfifo(repository.path / "pipe.yaml")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(repository.path / "socket.yaml"))
        snapshot = await DirectorySource(repository.path).fetch()
    assert snapshot.passed_over == (("pipe.yaml", SPECIAL), ("socket.yaml", SPECIAL))
    assert snapshot.verified


async def test_what_cannot_be_read_is_named_and_proves_no_absence(tmp_path):
    (tmp_path / "a.yaml").write_text("a")
    (tmp_path / "closed.yaml").write_text("b")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "c.yaml").write_text("c")
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.getuid() and parent != parent.parent:
            parent.chmod(parent.stat().st_mode | 0o055)
    (tmp_path / "closed.yaml").chmod(0)
    (tmp_path / "folder").chmod(0)
    with as_nobody():
        listing = scan(tmp_path, Rules())
    assert [file.path for file in listing.files] == ["a.yaml"]
    assert listing.passed_over == (
        ("closed.yaml", "can't be read: Permission denied"),
        ("folder", "can't be read: Permission denied"),
    )
    assert not listing.whole


async def test_directory_that_cannot_be_opened_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="No such file"):
        scan(tmp_path / "gone", Rules())


async def test_names_of_any_language_and_with_line_breaks_are_read(repository):
    names = ["ünï.yaml", "线.yaml", "line\nbreak.yaml", 'quo"te\\.yaml', "tab\t.yaml", " .yaml"]
    for name in names:
        repository.put(name, name)
    commit = repository.commit()
    snapshot = await DirectorySource(repository.path).fetch()
    assert set(names) < set(paths(snapshot))
    assert snapshot.revision == commit
    assert all(snapshot.read(name) == name.encode() for name in names)


async def test_names_that_are_not_utf8_are_passed_over(repository):
    (repository.path / os.fsdecode(b"caf\xe9.yaml")).write_text("a")
    (repository.path / os.fsdecode(b"d\xff")).mkdir()
    commit = repository.commit()
    snapshot = await DirectorySource(repository.path).fetch()
    assert snapshot.passed_over == (
        ("caf\\xe9.yaml", "its name is not UTF-8"),
        ("d\\xff", "its name is not UTF-8"),
    )
    assert snapshot.revision == commit


async def test_submodules_and_nested_repositories_are_passed_over(repository, tmp_path):
    other = Repository.create(tmp_path / "other").put("b.yaml", "b")
    other.commit()
    repository.git("submodule", "--quiet", "add", other.path.as_uri(), "sub")
    repository.commit()
    Repository.create(repository.path / "clone").put("c.yaml", "c")
    snapshot = await DirectorySource(repository.path).fetch()
    assert paths(snapshot) == [".gitmodules", "a.yaml", "flows/etl.py"]
    assert snapshot.passed_over == (("clone", NESTED), ("sub", NESTED))
    assert snapshot.revision == repository.head()


async def test_committed_folder_stays_ours_when_somebody_runs_git_init_in_it(repository):
    Repository.create(repository.path / "flows")
    snapshot = await DirectorySource(repository.path).fetch()
    assert paths(snapshot) == ["a.yaml", "flows/etl.py"]
    assert snapshot.revision == repository.head()


async def test_file_that_changed_since_the_listing_is_not_given_out(repository):
    snapshot = await DirectorySource(repository.path).fetch()
    repository.put("a.yaml", "kind: Other\n")
    with pytest.raises(SourceChanged, match=r"a\.yaml changed while reading"):
        snapshot.read("a.yaml")
    (repository.path / "a.yaml").unlink()
    with pytest.raises(SourceChanged):
        snapshot.read("a.yaml")
    os.mkfifo(repository.path / "a.yaml")
    with pytest.raises(SourceChanged):
        snapshot.read("a.yaml")


async def test_commit_is_noticed_by_the_same_source(repository):
    source = DirectorySource(repository.path)
    repository.put("b.yaml", "b")
    assert "+dirty:" in (await source.fetch()).revision
    commit = repository.commit()
    assert (await source.fetch()).revision == commit


async def test_git_init_is_noticed_by_the_same_source(tmp_path):
    source = DirectorySource(tmp_path)
    (tmp_path / "a.yaml").write_text("a")
    assert (await source.fetch()).commit is None
    commit = Repository.create(tmp_path).commit()
    assert (await source.fetch()).revision == commit


@pytest.mark.parametrize("name", ["gone", "file"])
async def test_what_is_no_directory_is_refused(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="is no directory"):
        await DirectorySource(tmp_path / name).fetch()


async def test_inside_of_a_repository_is_refused(repository, tmp_path):
    bare = repository.publish(tmp_path / "bare.git")
    for inside in (bare, repository.path / ".git"):
        with pytest.raises(SourceError, match="not a work tree"):
            await DirectorySource(inside).fetch()


async def test_broken_repository_is_an_error_not_an_empty_tree(repository):
    (repository.path / ".git" / "config").write_text("[broken\n")
    with pytest.raises(SourceError, match="bad config"):
        await DirectorySource(repository.path).fetch()


async def test_nothing_that_the_repository_configures_is_run(repository, tmp_path):
    witness = tmp_path / "ran"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {witness}\n")
    script.chmod(0o755)
    repository.git("config", "core.fsmonitor", str(script))
    repository.git("config", "filter.evil.clean", str(script))
    repository.put(".gitattributes", "*.yaml filter=evil\n").put("b.yaml", "b")
    await DirectorySource(repository.path).fetch()
    assert not witness.exists()


async def test_environment_of_another_git_does_not_mislead(repository, tmp_path, monkeypatch):
    other = Repository.create(tmp_path / "other")
    other.commit()
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.path))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    snapshot = await DirectorySource(repository.path).fetch()
    assert (
        snapshot.revision
        == snapshot.commit
        == str((repository.path / ".git/refs/heads/main").read_text().strip())
    )


async def test_tree_that_changes_all_the_time_gives_true_snapshots_or_says_so(tmp_path):
    (tmp_path / "tree" / "d").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.yaml").write_text("never")
    stop = threading.Event()

    def churn():
        folder, file, aside = tmp_path / "tree/d", tmp_path / "tree/f.yaml", tmp_path / "aside"
        while not stop.is_set():
            for text in ("one", "two", "three"):
                (folder / "x.yaml").write_text(text)
                file.write_text(text)
            file.unlink()
            file.symlink_to(tmp_path / "outside" / "x.yaml")
            folder.rename(aside)
            folder.symlink_to(tmp_path / "outside")
            folder.unlink()
            aside.rename(folder)
            file.unlink()

    seen, changed = set(), 0
    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(300):
            try:
                listing = scan(tmp_path / "tree", Rules())
                for file in listing.files:
                    seen.add(read_file(tmp_path / "tree", file, "sha1"))
            except SourceChanged:
                changed += 1
            else:
                assert listing.whole
    finally:
        stop.set()
        thread.join()
    assert b"never" not in seen
    assert seen <= {b"", b"one", b"two", b"three"}
    assert changed


async def test_fetch_tries_again_while_files_change(repository):
    stop = threading.Event()

    def churn():
        while not stop.wait(0.01):
            repository.put("new.yaml", "x")
            (repository.path / "new.yaml").unlink()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(5):
            assert "a.yaml" in paths(await DirectorySource(repository.path).fetch())
    finally:
        stop.set()
        thread.join()
