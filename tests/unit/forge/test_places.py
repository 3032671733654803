import pytest

from reconciler.forge import Project, project_of


@pytest.mark.parametrize(
    ("address", "kind", "api", "path"),
    [
        ("https://github.com/org/shop.git", "github", "https://api.github.com", "org/shop"),
        ("git@github.com:org/shop.git", "github", "https://api.github.com", "org/shop"),
        ("ssh://git@github.com/org/shop", "github", "https://api.github.com", "org/shop"),
        ("https://gitlab.com/a/b/c.git", "gitlab", "https://gitlab.com/api/v4", "a/b/c"),
        (
            "https://gitlab.example:8443/a/b",
            "gitlab",
            "https://gitlab.example:8443/api/v4",
            "a/b",
        ),
        ("ssh://git@gitlab.example:2222/a/b", "gitlab", "https://gitlab.example/api/v4", "a/b"),
        ("https://codeberg.org/a/b", "gitea", "https://codeberg.org/api/v1", "a/b"),
        ("http://forgejo.lan:3000/a/b", "gitea", "http://forgejo.lan:3000/api/v1", "a/b"),
        ("https://github.corp.example/a/b", "github", "https://github.corp.example/api/v3", "a/b"),
    ],
)
def test_the_address_of_a_repository_tells_the_forge(address, kind, api, path):
    assert project_of(address) == Project(kind, api, path)


def test_what_tells_nothing_is_no_forge_unless_the_settings_say():
    assert project_of("https://git.example/a/b") is None
    assert project_of("https://notgithub.example/a/b") is None
    assert project_of("/srv/git/shop") is None
    assert project_of("https://git.example/a/b", "gitea") == Project(
        "gitea", "https://git.example/api/v1", "a/b"
    )
    assert project_of("/srv/shop", "gitlab", "https://gl.example/api/v4", "a/b") == Project(
        "gitlab", "https://gl.example/api/v4", "a/b"
    )
