"""Git forges on this machine: what GitHub, Gitea and GitLab do with comments and commit statuses.

Sources: GitHub's REST API, "Issue comments", "Commit statuses"; GitLab's, "Notes", "Commits".
"""

from typing import Any

from tests.testbed.http_api import HttpApi, Reply, Request

TOKEN = "canary-forge-token"
BOT = {"login": "reconciler[bot]", "type": "Bot", "id": 1}
STRANGER = {"login": "mallory", "type": "User", "id": 9}
PROJECT = "org/shop"
_PAGE = 30


class ForgeServer(HttpApi):
    """A forge with one project, `org/shop`.

    Attributes:
        comments: of all requests, oldest first.
        statuses: as they were set, oldest first.
        me: whose token it is.
        refusals: given before all else, one a request.
    """

    def __init__(self, kind: str = "github") -> None:
        self.kind = kind
        self.comments: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.me = dict(BOT)
        self.refusals: list[Reply] = []
        super().__init__(self._gitlab() if kind == "gitlab" else self._github())
        self.before = self._check

    @property
    def api(self) -> str:
        """Address of the API."""
        return f"{self.url}/api"

    def add(self, body: str, author: dict[str, Any], number: int = 7) -> dict[str, Any]:
        """Add a comment of somebody."""
        made = {
            "id": 100 + len(self.comments),
            "body": body,
            "user": author,
            "author": author,
            "number": number,
            "html_url": f"{self.url}/org/shop/pull/{number}#comment-{100 + len(self.comments)}",
        }
        self.comments.append(made)
        return made

    def _check(self, request: Request) -> Reply | None:
        if self.refusals:
            return self.refusals.pop(0)
        given = request.headers.get("private-token") or request.headers.get("authorization", "")
        if given.removeprefix("Bearer ") != TOKEN:
            return Reply(401, {"message": "Bad credentials"})
        return None

    def _github(self) -> list[Any]:
        repo = f"/api/repos/{PROJECT}"
        return [
            ("GET", "/api/user", self._user),
            ("GET", f"{repo}/issues/(?P<number>\\d+)/comments", self._list),
            ("POST", f"{repo}/issues/(?P<number>\\d+)/comments", self._post),
            ("PATCH", f"{repo}/issues/comments/(?P<id>\\d+)", self._edit),
            ("POST", f"{repo}/statuses/(?P<sha>[0-9a-f]{{40}})", self._mark_github),
        ]

    def _gitlab(self) -> list[Any]:
        notes = f"/api/projects/{PROJECT}/merge_requests/(?P<number>\\d+)/notes"
        return [
            ("GET", "/api/user", lambda _: Reply(200, self.me)),
            ("GET", notes, self._list),
            ("POST", notes, self._post),
            ("PUT", f"{notes}/(?P<id>\\d+)", self._edit),
            (
                "POST",
                f"/api/projects/{PROJECT}/statuses/(?P<sha>[0-9a-f]{{40}})",
                self._mark_gitlab,
            ),
        ]

    def _user(self, _: Request) -> Reply:
        if self.me["type"] == "Bot":
            return Reply(403, {"message": "Resource not accessible by integration"})
        return Reply(200, self.me)

    def _list(self, request: Request) -> Reply:
        number = int(request.parts["number"])
        found = [one for one in self.comments if one["number"] == number]
        size, page = int(request.query.get("per_page", _PAGE)), int(request.query.get("page", 1))
        if self.kind == "gitea":  # it knows no pages here
            return Reply(200, found)
        return Reply(200, found[(page - 1) * size : page * size])

    def _post(self, request: Request) -> Reply:
        return Reply(201, self.add(request.body["body"], self.me, int(request.parts["number"])))

    def _edit(self, request: Request) -> Reply:
        one = next(one for one in self.comments if one["id"] == int(request.parts["id"]))
        one["body"] = request.body["body"]
        return Reply(200, one)

    def _mark_github(self, request: Request) -> Reply:
        body = request.body
        if body["state"] not in {"error", "failure", "pending", "success"}:
            return Reply(422, {"message": "Validation Failed"})
        if len(body.get("description", "")) > 140:
            return Reply(422, {"message": "description is too long (maximum is 140 characters)"})
        self.statuses.append({"sha": request.parts["sha"], **body})
        return Reply(201, body)

    def _mark_gitlab(self, request: Request) -> Reply:
        body, sha = request.body, request.parts["sha"]
        states = {"pending", "running", "success", "failed", "canceled"}
        if body["state"] not in states:
            return Reply(400, {"error": "state does not have a valid value"})
        last = [s for s in self.statuses if s["sha"] == sha and s["name"] == body["name"]]
        if last and last[-1]["state"] == body["state"]:
            text = "Cannot transition status via :enqueue from :pending"
            return Reply(400, {"message": text})
        self.statuses.append({"sha": sha, **body})
        return Reply(201, body)
