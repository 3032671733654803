"""Running git, and what its failures mean."""

import time

import pytest

from reconciler.errors import SourceError, SourceUnavailable
from reconciler.source.git.command import Git, GitFailed
from reconciler.source.git.failures import classify, names_no_ref, reason


def failed(stderr, status=128):
    return GitFailed(status, stderr)


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        ("Host key verification failed.\nfatal: Could not read from remote", "host key"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", "host key"),
        ("git@h: Permission denied (publickey).\nfatal: Could not", "refuses the credentials"),
        (
            "fatal: could not read Username for 'https://h': terminal prompts disabled",
            "credentials",
        ),
        ("fatal: Authentication failed for 'https://h/'", "refuses the credentials"),
        ("error: The requested URL returned error: 403", "refuses the credentials"),
        ("remote: Repository not found.\nfatal: repository 'https://h/' not found", "no git repo"),
        ("fatal: '/x' does not appear to be a git repository", "no git repository"),
        ("fatal: unable to access 'x': The requested URL returned error: 301", "redirects"),
        ("fatal: server certificate verification failed. CAfile: none", "TLS certificate"),
        ("fatal: detected dubious ownership in repository at '/x'", "belongs to another user"),
        ("fatal: transport 'ext' not allowed", "transport"),
    ],
)
def test_what_must_be_mended_is_a_source_error(stderr, words):
    error = classify(failed(stderr), "https://h")
    assert isinstance(error, SourceError)
    assert words in str(error)
    assert error.hint


@pytest.mark.parametrize(
    "stderr",
    [
        "fatal: unable to access 'https://h/': Could not resolve host: h",
        "fatal: unable to access 'https://h/': Failed to connect to h port 443: Connection refused",
        "error: RPC failed; curl 18 transfer closed\nfatal: early EOF",
        "fatal: unable to access 'https://h/': The requested URL returned error: 503",
        "ssh: connect to host h port 22: Connection timed out",
        "no answer within 60 seconds",
        "",
    ],
)
def test_what_passes_by_itself_is_unavailable(stderr):
    error = classify(failed(stderr), "https://h")
    assert isinstance(error, SourceUnavailable)
    assert str(error).startswith("https://h can't be reached: ")


def test_reason_says_the_line_that_counts_without_credentials():
    stderr = "hint: x\nfatal: unable to access 'https://bob:pw@h/': nope\ntrailing\n"
    assert reason(failed(stderr)) == "fatal: unable to access 'https://h/': nope"
    assert reason(failed("last\nline\n")) == "line"
    assert reason(failed("", status=7)) == "git ended with 7"
    assert len(reason(failed("fatal: " + "x" * 5000))) == 300


def test_missing_object_of_the_remote_is_told_from_other_failures():
    assert names_no_ref(failed("fatal: remote error: upload-pack: not our ref 123"))
    assert names_no_ref(failed("fatal: couldn't find remote ref refs/heads/x"))
    assert not names_no_ref(failed("fatal: early EOF"))


def test_command_that_does_not_end_is_killed(tmp_path):
    start = time.perf_counter()
    hanging = Git(tmp_path, config=(("alias.hang", "!sleep 30"),))
    with pytest.raises(GitFailed) as caught:
        hanging.run("hang", timeout=0.3)
    assert caught.value.stderr == "no answer within 0.3 seconds"
    assert time.perf_counter() - start < 10


def test_credentials_are_not_on_the_command_line_nor_in_the_repr(tmp_path):
    git = Git(
        tmp_path, config=(("alias.look", "!tr '\\0' ' ' </proc/$PPID/cmdline"), ("a.b", "pw"))
    )
    assert b"pw" not in git.run("look")
    assert git.run("config", "a.b") == b"pw\n"
    assert "pw" not in repr(git)


def test_input_reaches_the_command(tmp_path):
    assert len(Git(tmp_path).run("hash-object", "--stdin", stdin=b"x").strip()) == 40


def test_nobody_is_asked(tmp_path):
    assert Git(tmp_path).run("var", "GIT_EDITOR")  # runs with no terminal at all
    with pytest.raises(GitFailed) as caught:
        Git(tmp_path).run(
            "credential", "fill", stdin=b"protocol=https\nhost=h.test\n\n", timeout=10
        )
    assert "terminal prompts disabled" in caught.value.stderr


def test_missing_git_is_said_plainly(tmp_path, monkeypatch):
    (tmp_path / "env").symlink_to("/usr/bin/env")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="git is not installed"):
        Git(tmp_path).run("version")
