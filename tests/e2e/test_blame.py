"""`reconciler blame`: who declared each field, and what was changed in the API."""

import pytest

from tests.testbed.git import Repository

FIRST = """\
kind: Deployment
flow_name: etl
name: nightly
entrypoint: flows/etl.py:etl
tags: [prod]
parameters: {limit: 1}
"""
KEY = "deployment/etl/nightly"


@pytest.fixture
def work(tmp_path):
    made = Repository.create(tmp_path / "work")
    made.put("reconciler.yaml", "name: shop\ndrift: report\n")
    made.put("flows/nightly.yaml", FIRST)
    made.git("config", "user.name", "Ada")
    made.first = made.commit("declare it")
    made.put("flows/nightly.yaml", FIRST.replace("[prod]", "[prod, eu]"))
    made.git("add", "--all")
    made.git("commit", "--quiet", "-m", "run in Europe", GIT_AUTHOR_NAME="Grace")
    made.second = made.head()
    return made


def by_path(done):
    assert done.code == 0, done.output
    return {line["path"]: line for line in done.json()}


def test_each_field_has_its_commit_author_and_line(cli, work):
    lines = by_path(cli("blame", KEY, work.path, "--format", "json"))
    assert (lines["tags"]["commit"], lines["tags"]["author"]) == (work.second, "Grace")
    assert lines["tags"]["source"].startswith("flows/nightly.yaml:5:")
    assert lines["tags"]["summary"] == "run in Europe"
    assert (lines["parameters.limit"]["commit"], lines[""]["commit"]) == (work.first, work.first)
    text = cli("blame", KEY, work.path).stdout
    assert f"{work.second[:10]}" in text
    assert "Grace" in text


def test_a_repository_is_blamed_without_a_checkout(cli, work, tmp_path):
    bare = work.publish(tmp_path / "shop.git")
    done = cli("blame", KEY, "--repo", str(bare), "--format", "json")
    assert by_path(done)["tags"]["commit"] == work.second
    done = cli("blame", KEY, "--repo", str(bare), "--path", "flows", "--format", "json")
    assert done.code == 1  # the policy is not there


def test_what_is_not_committed_yet_is_said(cli, work):
    work.put("flows/nightly.yaml", FIRST.replace("limit: 1", "limit: 2"))
    lines = by_path(cli("blame", KEY, work.path, "--format", "json"))
    assert lines["parameters.limit"]["summary"] == "not committed yet"
    assert "not committed yet" in cli("blame", KEY, work.path).stdout


def test_outside_git_only_the_lines_are_known(cli, tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "reconciler.yaml").write_text("name: shop\n")
    (tmp_path / "plain" / "a.yaml").write_text(FIRST)
    lines = by_path(cli("blame", KEY, tmp_path / "plain", "--format", "json"))
    assert lines["tags"]["source"] == "a.yaml:5:1" or lines["tags"]["source"].startswith("a.yaml:5")
    assert lines["tags"]["commit"] is None


def test_a_key_that_nothing_declares_gets_a_hint(cli, work):
    done = cli("blame", "deployment/etl/nigthly", work.path)
    assert done.code == 64
    assert "did you mean deployment/etl/nightly?" in done.stderr
    assert cli("blame", "nonsense", work.path).code == 64


def test_what_was_changed_in_the_api_is_said(site):
    site.policy(drift="report")
    site.write("nightly.yaml", FIRST)
    site.apply()
    site.patch_deployment("nightly", tags=["theirs"])
    found = {line["path"]: line for line in site.run("blame", KEY, "--format", "json").json()}
    assert found["tags"]["changed_in_api"]
    assert not found["entrypoint"]["changed_in_api"]
    assert "changed in the API" in site.run("blame", KEY).stdout
