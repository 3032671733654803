"""A git repository over real HTTP."""

import pytest

from reconciler.errors import SourceError, SourceUnavailable
from reconciler.model.values import Secret
from reconciler.source.directory import DirectorySource
from reconciler.source.git import GitSource, HttpBasic, HttpBasicFile, HttpBearer
from tests.testbed.git import Repository
from tests.testbed.git_http import GitHttpServer

pytestmark = pytest.mark.anyio
PASSWORD = "pässw0rd-canary"
BOB = HttpBasic("bob", Secret(PASSWORD))


@pytest.fixture
def work(tmp_path):
    made = Repository.create(tmp_path / "work").put("a.yaml", "a").put("flows/x.py", "x")
    made.commit()
    made.publish(tmp_path / "served" / "repo.git")
    return made


@pytest.fixture
def server(tmp_path, work):
    with GitHttpServer(tmp_path / "served", users={"bob": PASSWORD}) as started:
        yield started


@pytest.fixture
def source_of(server, tmp_path):
    def make(auth=BOB, location=None, ref=None):
        url = location or server.url("repo.git")
        return GitSource(url, ref, mirror_dir=tmp_path / "mirrors", auth=auth)

    return make


async def test_http_gives_the_same_tree_as_the_directory(source_of, work):
    there = await source_of().fetch()
    here = await DirectorySource(work.path).fetch()
    assert (there.revision, there.digest, there.files) == (here.revision, here.digest, here.files)
    assert there.origin.roots == here.origin.roots
    assert there.read("flows/x.py") == b"x"


async def test_objects_travel_only_when_the_ref_moved(source_of, server, work, tmp_path):
    source = source_of()
    for _ in range(3):
        await source.fetch()
    await source_of().fetch()  # another process finds the mirror
    first = server.fetches()
    asked = len(server.requests)
    await source.fetch()
    assert server.fetches() - first <= 1  # the question itself is a POST in protocol 2
    assert len(server.requests) - asked <= 3
    work.put("b.yaml", "b")
    second = work.commit()
    work.publish(tmp_path / "served" / "repo.git")
    assert (await source.fetch()).revision == second


@pytest.mark.parametrize(
    "auth", [None, HttpBasic("bob", Secret("wrong")), HttpBearer(Secret("wrong"))]
)
async def test_wrong_credentials_must_be_mended(source_of, auth):
    with pytest.raises(SourceError, match="refuses the credentials") as caught:
        await source_of(auth).fetch()
    assert caught.value.hint


async def test_bearer_token_is_accepted(tmp_path, work):
    with GitHttpServer(tmp_path / "served", users={"bob": "t0ken"}) as server:
        auth = HttpBearer(Secret("t0ken"))
        source = GitSource(server.url("repo.git"), mirror_dir=tmp_path / "mirrors", auth=auth)
        assert (await source.fetch()).revision == work.head()


async def test_a_password_that_others_renew_is_read_anew(source_of, work, tmp_path):
    file = tmp_path / "password"
    file.write_text("expired\n")
    source = source_of(HttpBasicFile("bob", file))
    with pytest.raises(SourceError, match="refuses the credentials"):
        await source.fetch()
    file.write_text(f"{PASSWORD}\n")
    assert (await source.fetch()).revision == work.head()
    for broken in ("", None):
        file.unlink()
        if broken is not None:
            file.write_text(broken)
        with pytest.raises(SourceError, match="git password file"):
            await source.fetch()


async def test_credentials_of_the_url_are_used_and_never_shown_nor_stored(server, work, tmp_path):
    url = server.url("repo.git", userinfo="bob:p%C3%A4ssw0rd-canary@")
    source = GitSource(url, mirror_dir=tmp_path / "mirrors")
    snapshot = await source.fetch()
    assert snapshot.revision == work.head()
    assert snapshot.origin.location == server.url("repo.git")
    stored = b"".join(p.read_bytes() for p in (tmp_path / "mirrors").rglob("*") if p.is_file())
    assert b"canary" not in stored
    with pytest.raises(SourceError) as caught:
        await GitSource(
            server.url("gone.git", userinfo="bob:p%C3%A4ssw0rd-canary@"), mirror_dir=tmp_path
        ).fetch()
    assert "canary" not in str(caught.value)


async def test_credentials_never_follow_a_redirect(source_of, server, tmp_path):
    with GitHttpServer(tmp_path / "served") as other:
        server.status, server.location = (
            302,
            other.url("repo.git/info/refs?service=git-upload-pack"),
        )
        with pytest.raises(SourceError, match="redirects"):
            await source_of().fetch()
        assert other.requests == []


async def test_missing_repository_is_named(source_of, server):
    with pytest.raises(SourceError, match="there is no git repository"):
        await source_of(location=server.url("gone.git")).fetch()


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_trouble_of_the_server_passes_and_the_last_tree_stays(
    source_of, server, work, status
):
    source = source_of()
    await source.fetch()
    server.status = status
    with pytest.raises(SourceUnavailable):
        await source.fetch()
    assert (await source.last_good()).revision == work.head()
    server.status = None
    assert (await source.fetch()).revision == work.head()


async def test_stopped_server_passes_and_a_new_process_still_has_the_tree(
    tmp_path, work, source_of, server
):
    await source_of().fetch()
    server.stop()
    later = source_of()
    with pytest.raises(SourceUnavailable):
        await later.fetch()
    kept = await later.last_good()
    assert kept.revision == work.head()
    assert kept.read("a.yaml") == b"a"


async def test_deleted_branch_is_an_error_and_the_last_tree_stays(source_of, work, tmp_path):
    work.git("branch", "release")
    work.publish(tmp_path / "served" / "repo.git")
    source = source_of(ref="release")
    await source.fetch()
    work.git("branch", "-D", "release")
    work.publish(tmp_path / "served" / "repo.git")
    with pytest.raises(SourceError, match="has no branch, tag or commit 'release'"):
        await source.fetch()
    assert (await source.last_good()).revision == work.head()


async def test_commit_id_is_fetched_by_itself(source_of, work):
    assert (await source_of(ref=work.head()).fetch()).revision == work.head()


async def test_shortened_commit_id_is_searched(source_of, work, tmp_path):
    first = work.head()
    work.put("b.yaml", "b")
    work.commit()
    work.publish(tmp_path / "served" / "repo.git")
    assert (await source_of(ref=first[:10]).fetch()).revision == first
