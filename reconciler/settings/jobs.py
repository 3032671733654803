"""What CI systems tell a job of itself in variables.

Sources: GitHub Actions, "Default environment variables" and the `pull_request` event; GitLab,
"Predefined CI/CD variables". Gitea's and Forgejo's runners set GitHub's variables.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class CiJob:
    """A job of a CI system.

    Attributes:
        kind: `github`, `gitlab` or `gitea`; None where nothing says so.
        api: address of the forge's API.
        project: its path or id there.
        number: of the pull or merge request that it runs for; None for none.
        commit: the newest commit of that request, or the one it runs for.
        link: the job's own page.
        token: to the forge's API.
    """

    kind: str | None = None
    api: str | None = None
    project: str | None = None
    number: int | None = None
    commit: str | None = None
    link: str | None = None
    token: str | None = field(default=None, repr=False)


def ci_job(variables: Mapping[str, str]) -> CiJob:
    """Read the variables of a job; what they don't tell is None."""
    if variables.get("GITHUB_ACTIONS") == "true":
        return _github(variables)
    if variables.get("GITLAB_CI") == "true":
        return _gitlab(variables)
    return CiJob()


def _github(variables: Mapping[str, str]) -> CiJob:
    gitea = variables.get("GITEA_ACTIONS") == "true" or variables.get("FORGEJO_ACTIONS") == "true"
    request = _event(variables).get("pull_request") or {}
    project, run = variables.get("GITHUB_REPOSITORY"), variables.get("GITHUB_RUN_ID")
    web = variables.get("GITHUB_SERVER_URL")
    return CiJob(
        kind="gitea" if gitea else "github",
        api=variables.get("GITHUB_API_URL"),
        project=project,
        number=request.get("number"),
        commit=(request.get("head") or {}).get("sha") or variables.get("GITHUB_SHA"),
        link=f"{web}/{project}/actions/runs/{run}" if web and project and run else None,
        token=variables.get("GH_TOKEN") or variables.get("GITHUB_TOKEN"),
    )


def _event(variables: Mapping[str, str]) -> dict[str, Any]:
    try:
        event = json.loads(Path(variables.get("GITHUB_EVENT_PATH", "")).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return event if isinstance(event, dict) else {}


def _gitlab(variables: Mapping[str, str]) -> CiJob:
    number = variables.get("CI_MERGE_REQUEST_IID", "")
    # In a pipeline of the merged result CI_COMMIT_SHA is a commit that nobody sees.
    head = variables.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or variables.get("CI_COMMIT_SHA")
    return CiJob(
        kind="gitlab",
        api=variables.get("CI_API_V4_URL"),
        project=variables.get("CI_PROJECT_ID"),
        number=int(number) if number.isdecimal() else None,
        commit=head,
        link=variables.get("CI_JOB_URL"),
        token=variables.get("GITLAB_TOKEN"),
    )
