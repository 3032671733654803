"""Which forge a repository lies on, by its address. Pure."""

from urllib.parse import urlsplit

from reconciler.forge.base import Project

_HOSTS = {"github.com": "github", "gitlab.com": "gitlab", "codeberg.org": "gitea"}


def project_of(
    repository: str, kind: str | None = None, api: str | None = None, path: str | None = None
) -> Project | None:
    """Return the project of a repository; None where nothing tells which forge it lies on.

    Args:
        repository: URL, or `user@host:path`.
        kind: `github`, `gitlab` or `gitea`; by default what the host's name says.
        api: address of the forge's API; by default where that forge has it.
        path: of the project; by default the address's own.
    """
    text = repository
    if "://" not in text and ":" in text:
        text = "ssh://" + text.replace(":", "/", 1)
    parts = urlsplit(text)
    host = (parts.hostname or "").lower()
    chosen = kind or _HOSTS.get(host) or _named(host)
    own = path or parts.path.strip("/").removesuffix(".git")
    if chosen is None or not own or not (api or host):
        return None
    scheme = parts.scheme if parts.scheme in {"http", "https"} else "https"
    port = f":{parts.port}" if parts.scheme in {"http", "https"} and parts.port else ""
    return Project(chosen, api or _api(chosen, scheme, host, port), own)


def _named(host: str) -> str | None:
    labels = host.split(".")
    names = {"github": "github", "gitlab": "gitlab", "gitea": "gitea", "forgejo": "gitea"}
    return next((names[label] for label in labels if label in names), None)


def _api(kind: str, scheme: str, host: str, port: str) -> str:
    if host == "github.com":
        return "https://api.github.com"
    suffix = {"github": "/api/v3", "gitlab": "/api/v4", "gitea": "/api/v1"}[kind]
    return f"{scheme}://{host}{port}{suffix}"
