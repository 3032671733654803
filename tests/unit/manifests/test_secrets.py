"""Providers of secrets."""

import pytest

from reconciler.manifests.secrets import (
    Around,
    DirectorySecrets,
    EnvironmentSecrets,
    NoSecrets,
    Secrets,
    provider,
)
from reconciler.model.policy import SecretSource
from reconciler.model.values import MASKED


def test_the_first_provider_that_has_the_name_wins(tmp_path):
    (tmp_path / "token").write_text("from file")
    (tmp_path / "other").write_text("other file")
    secrets = Secrets(
        [EnvironmentSecrets("S_", {"S_token": "from env"}), DirectorySecrets(tmp_path)]
    )
    assert secrets.get("token").reveal() == "from env"
    assert secrets.get("other").reveal() == "other file"


def test_a_secret_is_read_once(tmp_path):
    (tmp_path / "token").write_text("old")
    secrets = Secrets([DirectorySecrets(tmp_path)])
    first = secrets.get("token")
    (tmp_path / "token").write_text("new")
    assert secrets.get("token") is first


@pytest.mark.parametrize("name", ["db-password", "DB_PASSWORD", "db.password", "db_password"])
def test_a_variable_is_found_in_its_usual_spelling(name):
    assert EnvironmentSecrets("S_", {"S_DB_PASSWORD": "x"}).find(name) == "x"


def test_only_variables_with_the_prefix_are_secrets():
    assert EnvironmentSecrets("S_", {"HOME": "/root", "XS_HOME": "y"}).find("HOME") is None


@pytest.mark.parametrize(
    ("content", "value"),
    [(b"a", "a"), (b"a\n", "a"), (b"a\n\n", "a\n"), (b"a\r\n", "a"), (b"", ""), (b" a ", " a ")],
)
def test_one_newline_at_the_end_of_a_file_is_no_part_of_the_secret(tmp_path, content, value):
    (tmp_path / "s").write_bytes(content)
    assert DirectorySecrets(tmp_path).find("s") == value


def test_links_inside_the_directory_are_followed_as_kubernetes_mounts_them(tmp_path):
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "token").write_text("x")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "token").symlink_to("..data/token")
    assert DirectorySecrets(tmp_path).find("token") == "x"


def test_a_folder_or_a_link_to_nowhere_is_no_secret(tmp_path):
    (tmp_path / "token").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    assert DirectorySecrets(tmp_path).find("loop") is None
    assert DirectorySecrets(tmp_path).find("token") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "is not UTF-8"), (b"x" * 1_000_001, "is larger than 1 MB")],
)
def test_a_file_that_can_be_no_secret_is_named_without_its_content(tmp_path, content, message):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(LookupError) as caught:
        DirectorySecrets(tmp_path).find("token")
    assert caught.value.args == (
        f"the file of the secret token {message}",
        "a secret is a short text",
    )


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(LookupError, match="can't be read: File name too long"):
        DirectorySecrets(tmp_path).find("x" * 300)


def test_a_missing_secret_says_where_it_was_looked_for(tmp_path):
    providers = [EnvironmentSecrets("S_", {}), DirectorySecrets(tmp_path / "none")]
    with pytest.raises(LookupError) as caught:
        Secrets(providers).get("token")
    assert caught.value.args == (
        "there is no secret token",
        (
            f"looked for it in the environment variables S_*, the directory {tmp_path / 'none'}"
            " (no such directory)"
        ),
    )


def test_without_providers_it_says_how_to_name_one():
    with pytest.raises(LookupError) as caught:
        Secrets([]).get("token")
    assert "below `secrets:` in reconciler.yaml" in caught.value.args[1]


def test_no_secrets_reads_nothing():
    assert NoSecrets().get("token") == MASKED


def test_a_provider_is_made_of_what_the_policy_names(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    made = provider(SecretSource(env="S_"), Around({"S_A": "x"}, tree))
    assert isinstance(made, EnvironmentSecrets)
    assert provider(SecretSource(dir="/run/secrets"), Around({}, None)).label.startswith(
        "the directory /run/secrets"
    )
    beside = provider(SecretSource(dir="../secrets"), Around({}, tree))
    assert beside.directory.resolve() == tmp_path / "secrets"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (SecretSource(), "a provider has exactly one of `env`, `dir`, `age`, `vault`"),
        (
            SecretSource(env="A_", dir="/x"),
            "a provider has exactly one of `env`, `dir`, `age`, `vault`",
        ),
        (SecretSource(env=""), "the prefix is empty: every variable would be a secret"),
        (SecretSource(dir="secrets"), "the directory must be an absolute path"),
    ],
)
def test_a_provider_that_makes_no_sense_is_a_problem(source, message):
    assert provider(source, Around({}, None))[0] == message


@pytest.mark.parametrize("directory", ["secrets", ".", "../tree/secrets", "link"])
def test_a_directory_inside_the_tree_is_refused(tmp_path, directory):
    tree = tmp_path / "tree"
    (tree / "secrets").mkdir(parents=True)
    (tree / "link").symlink_to("secrets")
    message, hint = provider(SecretSource(dir=directory), Around({}, tree))
    assert message == "the directory of secrets lies inside the tree"
    assert hint == "keep secrets out of git"
