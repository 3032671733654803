"""Only commits that somebody trusted has signed are given out: real git, ssh-keygen and gpg."""

import subprocess

import pytest

from reconciler.errors import SourceError
from reconciler.source.git import GitSource, Signers
from tests.testbed.git import Repository
from tests.testbed.packages import install

pytestmark = pytest.mark.anyio


class Person:
    """Somebody with an ssh key and an OpenPGP key."""

    def __init__(self, folder, name):
        self.home, self.email = folder / name, f"{name}@example.test"
        self.home.mkdir(mode=0o700)
        self.key = self.home / "id"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.email, "-f", self.key)
        who = f"{name} <{self.email}>"
        self.gpg("--quick-generate-key", "--passphrase", "", who, "ed25519", "sign", "never")

    def gpg(self, *args):
        return run("gpg", "--homedir", self.home, "--batch", "--quiet", *args)

    @property
    def allowed_signers(self):
        return f"{self.email} {self.key.with_suffix('.pub').read_text()}"

    @property
    def public_key(self):
        return self.gpg("--armor", "--export", self.email)

    def signs(self, work, how):
        key = str(self.key) if how == "ssh" else self.email
        options = (
            ("-c", "gpg.format=ssh") if how == "ssh" else (),
            ("-c", f"user.signingkey={key}", "commit", "-q", "--allow-empty", "-S", "-m", "signed"),
        )
        work.git(*(word for part in options for word in part), GNUPGHOME=str(self.home))

    def close(self):
        run("gpgconf", "--homedir", self.home, "--kill", "gpg-agent")


def run(*command):
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, check=True, text=True).stdout


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    install("gpg", "gnupg")
    install("ssh-keygen", "openssh-client")
    folder = tmp_path_factory.mktemp("p")  # short: gpg's agent has a socket there
    made = {name: Person(folder, name) for name in ("ada", "eve")}
    yield made
    for person in made.values():
        person.close()


@pytest.fixture
def work(tmp_path):
    made = Repository.create(tmp_path / "work").put("a.yaml", "a")
    made.commit()
    return made


@pytest.fixture
def source_of(work, people, tmp_path):
    def make(how):
        keys = tmp_path / "keys"
        keys.write_text(people["ada"].allowed_signers if how == "ssh" else people["ada"].public_key)
        return GitSource(str(work.path), mirror_dir=tmp_path / "mirrors", signers=Signers(keys))

    return make


@pytest.mark.parametrize("how", ["ssh", "openpgp"])
async def test_a_commit_of_a_trusted_key_is_given_out(source_of, work, people, how):
    people["ada"].signs(work, how)
    assert (await source_of(how).fetch()).revision == work.head()


@pytest.mark.parametrize("how", ["ssh", "openpgp"])
@pytest.mark.parametrize("with_what", ["ssh", "openpgp"])
async def test_one_of_another_key_is_refused(source_of, work, people, how, with_what):
    people["eve"].signs(work, with_what)
    with pytest.raises(SourceError, match="is not applied: it") as caught:
        await source_of(how).fetch()
    assert "sign it with a key of" in caught.value.hint


@pytest.mark.parametrize("how", ["ssh", "openpgp"])
async def test_the_other_kind_of_key_does_not_count_either(source_of, work, people, how):
    people["ada"].signs(work, "openpgp" if how == "ssh" else "ssh")
    with pytest.raises(SourceError, match="is not applied"):
        await source_of(how).fetch()


@pytest.mark.parametrize("how", ["ssh", "openpgp"])
async def test_an_unsigned_one_is_refused_and_not_remembered_either(source_of, work, people, how):
    people["ada"].signs(work, how)
    source = source_of(how)
    good = await source.fetch()
    work.put("a.yaml", "b").commit()
    with pytest.raises(SourceError, match="is not applied: it is not signed by"):
        await source.fetch()
    assert await source.last_good() == good
    with pytest.raises(SourceError, match="not signed"):
        await source_of(how).last_good()


async def test_a_commit_whose_content_was_changed_is_refused(source_of, work, people):
    people["ada"].signs(work, "ssh")
    forged = work.git("cat-file", "commit", "HEAD").replace("signed", "forged") + "\n"
    path = work.path / "forged"
    path.write_text(forged)
    work.git("reset", "--quiet", "--soft", work.git("hash-object", "-t", "commit", "-w", str(path)))
    with pytest.raises(SourceError, match="its signature is bad"):
        await source_of("ssh").fetch()


async def test_the_users_own_settings_let_nobody_in(source_of, work, people, tmp_path, monkeypatch):
    signers = tmp_path / "own"
    signers.write_text(people["eve"].allowed_signers)
    config = tmp_path / "gitconfig"
    config.write_text(f'[gpg]\n\tprogram = true\n[gpg "ssh"]\n\tallowedSignersFile = {signers}\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    people["eve"].signs(work, "ssh")
    with pytest.raises(SourceError, match="is not applied"):
        await source_of("ssh").fetch()


async def test_a_file_without_keys_trusts_nobody(work, tmp_path):
    for text in ("", "\n", None):
        keys = tmp_path / "keys"
        keys.unlink(missing_ok=True)
        if text is not None:
            keys.write_text(text)
        source = GitSource(str(work.path), mirror_dir=tmp_path / "m", signers=Signers(keys))
        with pytest.raises(SourceError, match="trusted keys"):
            await source.fetch()
