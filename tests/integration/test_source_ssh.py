"""A git repository over real ssh."""

import pytest

from reconciler.errors import SourceError, SourceUnavailable
from reconciler.source.git import GitSource, SshKey
from tests.testbed.git import Repository
from tests.testbed.git_ssh import GitSshServer

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with GitSshServer(tmp_path_factory.mktemp("sshd")) as started:
        yield started


@pytest.fixture
def work(tmp_path):
    made = Repository.create(tmp_path / "work").put("a.yaml", "a")
    made.commit()
    made.publish(tmp_path / "served" / "repo.git")
    return made


@pytest.fixture
def source_of(server, work, tmp_path):
    def make(key=None, known_hosts=None, url=None):
        auth = SshKey(key or server.key, known_hosts or server.known_hosts)
        url = url or server.url(tmp_path / "served" / "repo.git")
        return GitSource(url, mirror_dir=tmp_path / "mirrors", auth=auth)

    return make


async def test_key_opens_the_repository(source_of, work):
    snapshot = await source_of().fetch()
    assert snapshot.revision == work.head()
    assert snapshot.read("a.yaml") == b"a"


async def test_unknown_key_is_refused(source_of, server):
    with pytest.raises(SourceError, match="refuses the credentials"):
        await source_of(key=server.new_key("stranger")).fetch()


async def test_key_that_others_may_read_is_refused_with_words(source_of, server):
    loose = server.new_key("loose")
    loose.chmod(0o644)
    with pytest.raises(SourceError, match="refuses the credentials"):
        await source_of(key=loose).fetch()


async def test_unknown_host_is_not_trusted(source_of, tmp_path):
    (tmp_path / "empty").write_text("")
    with pytest.raises(SourceError, match="host key"):
        await source_of(known_hosts=tmp_path / "empty").fetch()


async def test_changed_host_key_is_not_trusted(source_of, server, tmp_path):
    other = server.new_key("other").with_suffix(".pub").read_text().split()[1]
    name, kind, _ = server.known_hosts.read_text().split()
    (tmp_path / "changed").write_text(f"{name} {kind} {other}\n")
    with pytest.raises(SourceError, match="host key"):
        await source_of(known_hosts=tmp_path / "changed").fetch()


async def test_missing_repository_is_named(source_of, server, tmp_path):
    with pytest.raises(SourceError, match="there is no git repository"):
        await source_of(url=server.url(tmp_path / "nowhere.git")).fetch()


async def test_unreachable_host_passes_by_itself(source_of):
    with pytest.raises(SourceUnavailable):
        await source_of(url="ssh://git@127.0.0.1:9/x.git").fetch()
