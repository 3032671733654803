"""The workflow files of `reconciler init`, run step by step as GitHub's and GitLab's runners do."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.testbed.forges import TOKEN, ForgeServer
from tests.testbed.git import ENVIRONMENT, Repository, git

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SECRET = "canary-secret-of-the-main-branch"


class Review:
    """A repository made by `reconciler init`, and a pull request to it."""

    def __init__(self, cli, server, folder):
        self.server, self.folder = server, folder
        self.origin = Repository.create(folder / "origin")
        assert cli("init", str(self.origin.path), "--name", "shop").code == 0
        self.origin.put(
            "blocks/token.yaml",
            "kind: Block\nblock_type_slug: secret\nname: token\ndata: {value: '${{ secrets.TOKEN }}'}\n",
        )
        self.base = self.origin.commit()
        self.bare = folder / "origin.git"

    def propose(self, **files):
        """Open the pull request; the target branch goes on."""
        self.origin.git("checkout", "--quiet", "-b", "proposed")
        self.origin.write(**files)
        self.head = self.origin.commit("a proposal")
        self.origin.git("update-ref", "refs/pull/7/head", self.head)
        self.origin.git("checkout", "--quiet", "main")
        self.origin.publish(self.bare)

    def run(self, steps, checkout, **variables):
        """Run steps in a clone, each as a shell of its own; return the codes."""
        clone = self.folder / "clone"
        git(self.folder, "clone", "--quiet", str(self.bare), str(clone))
        git(clone, "checkout", "--quiet", checkout)
        env = {
            **ENVIRONMENT,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "PREFECT_API_URL": self.server.client_env["PREFECT_API_URL"],
            "RECONCILER_STATE_DIR": str(self.folder / "state"),
            "RECONCILER_SECRET_TOKEN": SECRET,
            **{k: v for k, v in os.environ.items() if k == "PYTHONPATH"},
            **variables,
        }
        self.said, codes = "", []
        for step in steps:
            shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step]
            done = subprocess.run(
                shell, cwd=clone, env=env, capture_output=True, text=True, check=False
            )
            self.said += done.stdout + done.stderr
            codes.append(done.returncode)
        return codes


@pytest.fixture
def review(cli, server, tmp_path):
    return Review(cli, server, tmp_path)


def github(review, forge):
    """Run the workflow of GitHub Actions: on the target branch, with the event's variables."""
    text = (review.origin.path / ".github/workflows/reconciler.yaml").read_text()
    workflow = yaml.safe_load(text)
    assert workflow[True] == ["pull_request_target"]  # YAML 1.1 reads `on` so
    event = review.folder / "event.json"
    request = {"number": 7, "head": {"sha": review.head}}
    event.write_text(json.dumps({"pull_request": request}))
    job = workflow["jobs"]["plan"]
    steps = [one["run"] for one in job["steps"] if "run" in one and "pip install" not in one["run"]]
    assert not any("${{" in step for step in steps)  # what an author wrote never becomes a script
    # The steps after a failed one run, too: `if: !cancelled()`.
    assert all("if" in one for one in job["steps"][-2:])
    return review.run(
        steps,
        "main",
        NUMBER="7",
        TARGET="main",
        GITHUB_ACTIONS="true",
        GITHUB_API_URL=forge.api,
        GITHUB_REPOSITORY="org/shop",
        GITHUB_EVENT_PATH=str(event),
        GITHUB_SERVER_URL="https://git.test",
        GITHUB_RUN_ID="77",
        GH_TOKEN=TOKEN,
    )


def gitlab(review, forge):
    """Run the job of GitLab CI: on the proposal, with the predefined variables."""
    job = yaml.safe_load((review.origin.path / ".gitlab-ci.yml").read_text())["plan"]
    steps = ["\n".join(job["script"]), "\n".join(job["after_script"])]
    return review.run(
        steps,
        review.head,
        CI_MERGE_REQUEST_TARGET_BRANCH_NAME="main",
        GITLAB_CI="true",
        CI_API_V4_URL=forge.api,
        CI_PROJECT_ID="org/shop",
        CI_MERGE_REQUEST_IID="7",
        CI_COMMIT_SHA=review.head,
        CI_JOB_URL="https://git.test/jobs/77",
        GITLAB_TOKEN=TOKEN,
    )


@pytest.mark.parametrize(("kind", "run"), [("github", github), ("gitlab", gitlab)])
def test_a_pull_request_shows_its_plan_and_marks_its_commit(review, kind, run):
    new = "kind: Block\nblock_type_slug: process\nname: more\ndata: {env: {A: '1'}}\n"
    review.propose(blocks__more_dot_yaml=new)
    with ForgeServer(kind) as forge:
        assert set(run(review, forge)) == {0}, review.said
    [comment] = forge.comments
    assert comment["body"].startswith("<!-- reconciler: reconciler -->")
    assert "block/process/more" in comment["body"]
    assert "blocks/more.yaml:1:1" in comment["body"]
    [status] = forge.statuses
    assert (status["sha"], status["state"]) == (review.head, "success")
    assert re.match(r"\d+ to create", status["description"])
    assert "77" in status["target_url"]
    assert SECRET not in comment["body"] + review.said
    assert TOKEN not in comment["body"] + review.said


@pytest.mark.parametrize(("kind", "run"), [("github", github), ("gitlab", gitlab)])
def test_the_problems_of_a_pull_request_stand_in_its_comment(review, kind, run):
    review.propose(blocks__more_dot_yaml="kind: Block\nblock_type_slug: process\nnmae: more\n")
    with ForgeServer(kind) as forge:
        codes = run(review, forge)
    assert codes[-1] == 0, review.said
    assert 1 in codes
    [comment] = forge.comments
    assert "blocks/more.yaml:3:1" in comment["body"]
    assert "did you mean name?" in comment["body"]
    assert forge.statuses[0]["state"] in {"failure", "failed"}
    assert "problem" in forge.statuses[0]["description"]


@pytest.mark.parametrize(("kind", "run"), [("github", github), ("gitlab", gitlab)])
def test_a_stranger_cannot_change_the_policy_or_see_a_secret(review, kind, run):
    """Its own `reconciler.yaml` would read every variable of the job as a secret."""
    review.propose(
        reconciler_dot_yaml="name: shop\nsecrets: [{env: ''}]\nvars: {}\n",
        blocks__steal_dot_yaml=(
            "kind: Block\nblock_type_slug: process\nname: steal\n"
            "data: {env: {A: '${{ secrets.TOKEN }}', B: '${{ secrets.GH_TOKEN }}'}}\n"
        ),
    )
    with ForgeServer(kind) as forge:
        run(review, forge)
    text = forge.comments[0]["body"] + review.said + json.dumps(forge.statuses)
    assert SECRET not in text
    assert TOKEN not in text


def test_without_a_plan_the_comment_says_where_to_look(review, tmp_path):
    review.propose()
    with ForgeServer() as forge:
        codes = github_without_server(review, forge)
    assert codes[-1] == 0, review.said
    assert "No plan could be made" in forge.comments[0]["body"]
    assert "actions/runs/77" in forge.comments[0]["body"]
    assert forge.statuses[0]["state"] == "failure"


def github_without_server(review, forge):
    review.server = type("Gone", (), {"client_env": {"PREFECT_API_URL": "http://127.0.0.1:1/api"}})
    return github(review, forge)
