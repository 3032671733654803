"""GitLab. Sources: its REST API, "Commits: set pipeline status", "Notes", "Users"."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx

from reconciler.errors import Rejected
from reconciler.forge.base import CommitStatus, Project, Verdict, cut
from reconciler.outgoing import Correspondent

_LONGEST_TEXT = 255
_PAGE = 100
_MOST_PAGES = 30
_STATES = {
    Verdict.PENDING: "pending",
    Verdict.SUCCESS: "success",
    Verdict.FAILURE: "failed",
}


class GitLab:
    """A project on GitLab."""

    def __init__(self, http: httpx.AsyncClient, project: Project, token: Callable[[], str]) -> None:
        self._forge = Correspondent(http, "GitLab", lambda: {"PRIVATE-TOKEN": token()})
        self._api = project.api.rstrip("/")
        self._url = f"{self._api}/projects/{quote(project.path, safe='')}"

    async def mark(self, commit: str, status: CommitStatus) -> None:
        """See `forge.base.Forge`."""
        body = {
            "state": _STATES[status.verdict],
            "name": status.name,
            "description": cut(status.text, _LONGEST_TEXT),
            **({"target_url": status.link} if status.link else {}),
        }
        try:
            await self._forge.ask("POST", f"{self._url}/statuses/{quote(commit)}", body)
        except Rejected as error:
            # A status that is there already is refused: "Cannot transition status via …".
            if "Cannot transition status" not in error.message:
                raise

    async def comment(self, number: int, marker: str, body: str) -> str:
        """See `forge.base.Forge`."""
        text = {"body": f"{marker}\n{body}"}
        notes = f"{self._url}/merge_requests/{number}/notes"
        own = await self._ours(notes, marker)
        if own is not None:
            written = await self._forge.ask("PUT", f"{notes}/{own['id']}", text)
        else:
            written = await self._forge.ask("POST", notes, text)
        return f"{number}#note_{(written or {}).get('id', '')}"

    async def _ours(self, notes: str, marker: str) -> Any:
        """Find our note: begun as ours are, and written by us."""
        me: Any = None
        for page in range(1, _MOST_PAGES + 1):
            url = f"{notes}?per_page={_PAGE}&page={page}&sort=asc&order_by=created_at"
            found = await self._forge.ask("GET", url) or []
            for one in found:
                if not one["body"].startswith(marker):
                    continue
                me = me or await self._forge.ask("GET", f"{self._api}/user")
                if one["author"]["id"] == me["id"]:
                    return one
            if len(found) < _PAGE:
                break
        return None
