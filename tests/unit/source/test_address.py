"""Addresses, credentials and how git gets them."""

from pathlib import Path

import pytest

from reconciler.errors import SourceError
from reconciler.model.values import Secret
from reconciler.source.git.address import parse, scrub
from reconciler.source.git.auth import HttpBasic, HttpBearer, SshKey, config_for, ssh_command
from reconciler.source.git.sharing import SharedConnections


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("https://h.test/a.git", "https://h.test/a.git", "https://h.test/a.git"),
        ("https://h.test:8443/a", "https://h.test:8443/a", "https://h.test:8443/a"),
        ("https://bob:s3cret@h.test/a", "https://h.test/a", "https://h.test/a"),
        ("https://token@h.test/a", "https://h.test/a", "https://h.test/a"),
        (
            "https://h.test/a?private_token=x#f",
            "https://h.test/a?private_token=x",
            "https://h.test/a",
        ),
        ("ssh://git@h.test:22/a", "ssh://git@h.test:22/a", "ssh://h.test:22/a"),
        ("git@h.test:team/a.git", "git@h.test:team/a.git", "git@h.test:team/a.git"),
    ],
)
def test_addresses_carry_no_password(text, url, shown):
    address = parse(text)
    assert (address.url, address.shown) == (url, shown)


def test_login_of_a_url_is_kept_apart_and_secret():
    login = parse("https://bob:s%40cret@h.test/a").login
    assert login.username == "bob"
    assert login.password.reveal() == "s@cret"
    assert "s@cret" not in repr(login)
    assert parse("https://h.test/a").login is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-x",
        "--upload-pack=touch /tmp/x",
        "ext::sh -c 'touch x'",
        "fd::17",
        "https://h.test/a\nb",
        "git://h.test/a",
        "ftp://h.test/a",
        "javascript://h.test/a",
        "https://",
        "https://[broken/a",
        "https://h.test:port/a",
        "ssh://-oProxyCommand=x/a",
        "ssh://-oX@h.test/a",
        "-oProxyCommand=x:a",
        "user@-oProxyCommand=x:a",
        "ssh://git:password@h.test/a",
        "/nowhere/at/all",
    ],
)
def test_tricks_and_foreign_transports_are_refused(text):
    with pytest.raises(SourceError) as caught:
        parse(text)
    assert "password" not in str(caught.value) or "takes no password" in str(caught.value)


def test_local_folder_with_a_colon_is_a_folder(tmp_path, monkeypatch):
    (tmp_path / "a:b").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse("a:b").shown == str(tmp_path / "a:b")


@pytest.mark.parametrize(
    "text",
    [
        "https://bob:hunter/2@h.test/a",
        "https://bob:hun@ter2@h.test:x/a",
        "ftp://bob:hunter2@h.test/a",
        "ftp://bob:hun/ter2@h.test/a",
        "bob:hunter2@h.test/a",
        "https:/bob:hunter2@h.test/a",
        "hunter2@h.test",
        "ext::https://bob:hunter2@h.test",
        "-https://bob:hunter2@h.test",
    ],
)
def test_what_is_no_address_is_refused_without_its_password(text):
    with pytest.raises(SourceError) as refused:
        parse(text)
    said = f"{refused.value} {refused.value.hint}"
    assert not any(part in said for part in ("hunter", "hun", "ter2"))


def test_a_password_with_an_unquoted_at_is_used_and_not_shown():
    address = parse("https://bob:hun@ter2@h.test/a")
    assert address.login.password.reveal() == "hun@ter2"
    assert (address.url, address.shown) == ("https://h.test/a", "https://h.test/a")
    assert scrub("fatal: 'https://bob:hun@ter2@h.test/a'") == "fatal: 'https://h.test/a'"


def test_scrub_removes_credentials_from_every_url():
    text = "fatal: unable to access 'https://bob:s3cret@h.test/a/': see ssh://git@x/y"
    assert scrub(text) == "fatal: unable to access 'https://h.test/a/': see ssh://x/y"


def test_http_credentials_are_bound_to_the_repository_and_to_no_helper():
    pairs = config_for(HttpBasic("bob", Secret("pw")), "https://h.test/a")
    name = "http.https://h.test/a.extraHeader"
    assert pairs[:2] == ((name, ""), (name, "Authorization: Basic Ym9iOnB3"))
    assert ("credential.helper", "") in pairs
    assert ("http.followRedirects", "false") in pairs
    assert config_for(HttpBearer(Secret("t")), "u")[1][1] == "Authorization: Bearer t"
    assert config_for(None, "u") == config_for(SshKey(Path("k")), "u") == ()


def test_ssh_asks_nobody_and_trusts_known_hosts_only():
    command = ssh_command(SshKey(Path("/k e%y"), Path("/known hosts")))
    assert "BatchMode=yes" in command
    assert "StrictHostKeyChecking=yes" in command
    assert "'-oIdentityFile=\"/k e%%y\"'" in command
    assert "'-oUserKnownHostsFile=\"/known hosts\"'" in command
    assert "UserKnownHostsFile" not in ssh_command(SshKey(Path("/k")))
    assert "IdentityFile" not in ssh_command(None)


def test_a_shared_connection_is_for_one_key_and_what_was_trusted_then(tmp_path):
    key, known = tmp_path / "key", tmp_path / "known"
    key.write_text("k")
    known.write_text("one")
    shared = SharedConnections()
    first = shared.options(key, known)
    assert first == shared.options(key, known)
    [path] = [one.split('"')[1] for one in first if "ControlPath" in one]
    assert Path(path).parent.stat().st_mode & 0o777 == 0o700
    known.write_text("another")
    assert shared.options(key, known) != first
    assert shared.options(key, None) == ()
    key.unlink()
    assert shared.options(key, known) == ()
    del shared
    assert not Path(path).parent.exists()


def test_a_connection_is_not_shared_where_its_socket_would_have_too_long_a_path(tmp_path):
    key = tmp_path / "key"
    key.write_text("k")
    deep = tmp_path / ("d" * 80)
    deep.mkdir()
    assert SharedConnections(deep).options(key, key) == ()
