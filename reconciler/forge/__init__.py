"""GitHub, GitLab, Gitea: commit status and plan comments."""

from collections.abc import Callable

import httpx

from reconciler.forge.base import CommitStatus, Forge, Project, Verdict
from reconciler.forge.github import GitHub
from reconciler.forge.gitlab import GitLab
from reconciler.forge.places import project_of

FORGES: dict[str, Callable[[httpx.AsyncClient, Project, Callable[[], str]], Forge]] = {
    "github": GitHub,
    "gitlab": GitLab,
    "gitea": GitHub,
}


def forge_of(http: httpx.AsyncClient, project: Project, token: Callable[[], str]) -> Forge:
    """Make the forge of a project.

    Args:
        http: sends its requests.
        project: which.
        token: asked for each request, since tokens of apps change.
    """
    return FORGES[project.kind](http, project, token)


__all__ = ["FORGES", "CommitStatus", "Forge", "Project", "Verdict", "forge_of", "project_of"]
