"""GitHub, and Gitea and Forgejo, whose API follows it.

Sources: GitHub's REST API, "Commit statuses", "Issue comments"; Gitea's API, "repository",
"issue".
"""

from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import httpx

from reconciler.errors import Forbidden, NotFound
from reconciler.forge.base import CommitStatus, Project, cut
from reconciler.outgoing import Correspondent

_LONGEST_TEXT = 140
_PAGE = 100
_MOST_PAGES = 30


class GitHub:
    """A repository on GitHub, Gitea or Forgejo."""

    def __init__(self, http: httpx.AsyncClient, project: Project, token: Callable[[], str]) -> None:
        def headers() -> dict[str, str]:
            return {"Authorization": f"Bearer {token()}", "Accept": "application/json"}

        name = "Gitea" if project.kind == "gitea" else "GitHub"
        self._forge = Correspondent(http, name, headers)
        self._api = project.api.rstrip("/")
        self._url = f"{self._api}/repos/{quote(project.path)}"

    async def mark(self, commit: str, status: CommitStatus) -> None:
        """See `forge.base.Forge`."""
        body = {
            "state": status.verdict.value,
            "description": cut(status.text, _LONGEST_TEXT),
            "context": status.name,
            **({"target_url": status.link} if status.link else {}),
        }
        await self._forge.ask("POST", f"{self._url}/statuses/{quote(commit)}", body)

    async def comment(self, number: int, marker: str, body: str) -> str:
        """See `forge.base.Forge`."""
        text = {"body": f"{marker}\n{body}"}
        own = await self._ours(number, marker)
        if own is not None:
            url = f"{self._url}/issues/comments/{own['id']}"
            written = await self._forge.ask("PATCH", url, text)
        else:
            url = f"{self._url}/issues/{number}/comments"
            written = await self._forge.ask("POST", url, text)
        return str((written or {}).get("html_url", ""))

    async def _ours(self, number: int, marker: str) -> Any:
        """Find our comment.

        Anybody may write one that begins as ours does, and change it again after we did: who wrote
        it counts, too.
        """
        login: str | None = None
        async for one in self._comments(number):
            if not (one.get("body") or "").startswith(marker):
                continue
            author = one.get("user") or {}
            if author.get("type") == "Bot":  # those are let in by who owns the repository
                return one
            login = login if login is not None else await self._login()
            if login and author.get("login") == login:
                return one
        return None

    async def _comments(self, number: int) -> AsyncIterator[Any]:
        known: set[Any] = set()
        for page in range(1, _MOST_PAGES + 1):
            url = f"{self._url}/issues/{number}/comments?per_page={_PAGE}&page={page}"
            found = await self._forge.ask("GET", url) or []
            new = [one for one in found if one["id"] not in known]
            for one in new:
                yield one
            known |= {one["id"] for one in new}
            if len(found) < _PAGE or not new:  # Gitea gives all at once, whatever the page
                return

    async def _login(self) -> str:
        """Return whose token it is; that of a workflow has no user, and writes as a bot."""
        try:
            return str((await self._forge.ask("GET", f"{self._api}/user") or {}).get("login", ""))
        except (Forbidden, NotFound):
            return ""
