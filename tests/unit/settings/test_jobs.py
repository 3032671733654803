import json

import pytest

from reconciler.errors import UsageError
from reconciler.settings import CiJob, ci_job, load

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_API_URL": "https://api.github.com",
    "GITHUB_REPOSITORY": "org/shop",
    "GITHUB_SHA": "b" * 40,
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_RUN_ID": "5",
    "GITHUB_TOKEN": "t",
}


def test_a_github_job_of_a_pull_request(tmp_path):
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 7, "head": {"sha": "a" * 40}}}))
    link = "https://github.com/org/shop/actions/runs/5"
    found = ci_job({**GITHUB, "GITHUB_EVENT_PATH": str(event)})
    assert found == CiJob("github", "https://api.github.com", "org/shop", 7, "a" * 40, link, "t")
    assert ci_job({**GITHUB, "GITEA_ACTIONS": "true"}).kind == "gitea"
    assert "'t'" not in repr(found)


@pytest.mark.parametrize("content", ["", "[]", "{", "\x00"])
def test_a_github_job_of_something_else_has_no_number(tmp_path, content):
    event = tmp_path / "event.json"
    event.write_text(content)
    found = ci_job({**GITHUB, "GITHUB_EVENT_PATH": str(event)})
    assert (found.number, found.commit) == (None, "b" * 40)
    assert ci_job(GITHUB).number is None


def test_a_gitlab_job_of_a_merge_request_marks_the_commit_that_its_author_pushed():
    job = {
        "GITLAB_CI": "true",
        "CI_API_V4_URL": "https://gl.example/api/v4",
        "CI_PROJECT_ID": "12",
        "CI_MERGE_REQUEST_IID": "3",
        "CI_COMMIT_SHA": "b" * 40,
        "CI_JOB_URL": "https://gl.example/jobs/1",
        "GITLAB_TOKEN": "t",
    }
    wanted = CiJob(
        "gitlab", "https://gl.example/api/v4", "12", 3, "b" * 40, "https://gl.example/jobs/1", "t"
    )
    assert ci_job(job) == wanted
    merged = ci_job({**job, "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": "a" * 40})
    assert merged.commit == "a" * 40


def test_elsewhere_nothing_is_known():
    assert ci_job({"HOME": "/root"}) == CiJob()


def test_a_topic_that_is_none_is_refused(tmp_path):
    home = {"HOME": str(tmp_path)}
    with pytest.raises(UsageError, match="RECONCILER_NOTIFY_ON"):
        load({**home, "RECONCILER_NOTIFY_ON": '["drfit"]'})
    assert load({**home, "RECONCILER_NOTIFY_ON": '["drift"]'}).notify.on == ("drift",)
    assert load({**home, "RECONCILER_FORGE": "gitea"}).forge.kind == "gitea"
