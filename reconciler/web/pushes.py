"""What the webhooks of git forges say, and whether they are genuine. Pure.

Sources of the rules: GitHub, "Validating webhook deliveries"; GitLab, "Webhooks: validate payloads
by using a secret token"; Gitea and Forgejo, "Webhooks"; Bitbucket Cloud, "Manage webhooks: secure
webhooks", and Data Center, "Event payload".
"""

import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

_Headers = Mapping[str, str]
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Push:
    """A push.

    Attributes:
        repositories: addresses of the repository, as the forge spells them.
        refs: full names of the refs that moved or went.
        default_branch: full name of the repository's default branch; None where it isn't said.
    """

    repositories: frozenset[str]
    refs: frozenset[str]
    default_branch: str | None = None

    def concerns(self, ref: str | None) -> bool:
        """Tell whether it moves a ref, None being the default branch."""
        if ref is None or ref == "HEAD":
            return self.default_branch is None or self.default_branch in self.refs
        names = {ref} if ref.startswith("refs/") else {f"refs/heads/{ref}", f"refs/tags/{ref}"}
        return bool(names & self.refs)

    def is_of(self, addresses: frozenset[str]) -> bool:
        """Tell whether it is of a repository, given as `same_place` writes addresses."""
        return bool({same_place(one) for one in self.repositories} & addresses)


def same_place(address: str) -> str:
    """Return an address of a repository without what differs between its spellings.

    `https://user@Host/Org/repo.git`, `ssh://git@host:22/org/repo` and `git@host:org/repo.git` are
    one place.
    """
    text = address.strip()
    if "://" not in text and ":" in text:
        text = "ssh://" + text.replace(":", "/", 1)
    parts = urlsplit(text)
    path = parts.path.strip("/").removesuffix(".git").removeprefix("scm/")
    return f"{parts.hostname or ''}/{path}".lower()


def is_genuine(forge: str, headers: _Headers, body: bytes, secret: str) -> bool:
    """Tell whether a webhook was made with our secret; takes the same time whatever differs.

    Args:
        forge: `github`, `gitlab`, `gitea` or `bitbucket`.
        headers: with lower-case names.
        body: as it came.
        secret: ours.
    """
    if forge == "gitlab":
        return _equal(headers.get("x-gitlab-token", ""), secret)
    expected = hmac.new(secret.encode(), body, sha256).hexdigest()
    given = next((headers[name] for name in _SIGNATURES[forge] if name in headers), "")
    return _equal(given.removeprefix("sha256="), expected)


def push_of(forge: str, headers: _Headers, payload: Json) -> Push | None:
    """Return what was pushed; None if the webhook tells of something else.

    Raises:
        ValueError: it is not what that forge sends.
    """
    if headers.get(_EVENT_HEADERS[forge], "") not in _EVENTS[forge]:
        return None
    try:
        return _READERS[forge](payload)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no push of {forge}: {error}") from None


FORGES = ("github", "gitlab", "gitea", "bitbucket")
_SIGNATURES = {
    "github": ("x-hub-signature-256",),
    "gitea": ("x-gitea-signature", "x-forgejo-signature", "x-hub-signature-256"),
    "bitbucket": ("x-hub-signature",),
}
_EVENT_HEADERS = {
    "github": "x-github-event",
    "gitlab": "x-gitlab-event",
    "gitea": "x-gitea-event",
    "bitbucket": "x-event-key",
}
_EVENTS = {
    "github": ("push",),
    "gitlab": ("Push Hook", "Tag Push Hook"),
    "gitea": ("push",),
    "bitbucket": ("repo:push", "repo:refs_changed"),
}


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _github(payload: Json) -> Push:
    """GitHub, Gitea and Forgejo write pushes alike."""
    repository = payload["repository"]
    addresses = (repository.get(name) for name in ("clone_url", "ssh_url", "html_url", "git_url"))
    return Push(_texts(addresses), _texts([payload["ref"]]), _branch(repository))


def _gitlab(payload: Json) -> Push:
    project = payload["project"]
    names = ("git_http_url", "git_ssh_url", "web_url")
    addresses = (project.get(name) for name in names)
    return Push(_texts(addresses), _texts([payload["ref"]]), _branch(project))


def _bitbucket(payload: Json) -> Push:
    links = payload["repository"]["links"]
    addresses = [link["href"] for link in links.get("clone", ())]
    addresses += [links[name]["href"] for name in ("html",) if name in links]
    return Push(_texts(addresses), frozenset(_bitbucket_refs(payload)))


def _bitbucket_refs(payload: Json) -> Iterator[str]:
    for change in payload.get("changes", ()):  # Data Center
        yield str(change["ref"]["id"])
    for change in payload.get("push", {}).get("changes", ()):  # Cloud
        moved = change.get("new") or change.get("old") or {}
        kind = "tags" if moved.get("type") == "tag" else "heads"
        yield f"refs/{kind}/{moved['name']}"


def _branch(repository: Json) -> str | None:
    name = repository.get("default_branch")
    return f"refs/heads/{name}" if isinstance(name, str) else None


def _texts(values: Any) -> frozenset[str]:
    return frozenset(value for value in values if isinstance(value, str))


_READERS: Mapping[str, Callable[[Json], Push]] = {
    "github": _github,
    "gitlab": _gitlab,
    "gitea": _github,
    "bitbucket": _bitbucket,
}
