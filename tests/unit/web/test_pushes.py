"""Webhooks: genuine ones only, of each forge, about our repository and ref."""

import hmac
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.web.pushes import FORGES, Push, is_genuine, push_of, same_place

SECRET, BODY = "hush", b'{"x": 1}'
GOOD = hmac.new(SECRET.encode(), BODY, sha256).hexdigest()
SIGNED = {
    "github": {"x-hub-signature-256": f"sha256={GOOD}"},
    "gitlab": {"x-gitlab-token": SECRET},
    "gitea": {"x-gitea-signature": GOOD},
    "bitbucket": {"x-hub-signature": f"sha256={GOOD}"},
}
PUSHES = {
    "github": (
        {"x-github-event": "push"},
        {
            "ref": "refs/heads/main",
            "repository": {
                "clone_url": "https://github.com/Org/Shop.git",
                "ssh_url": "git@github.com:Org/Shop.git",
                "default_branch": "main",
            },
        },
    ),
    "gitlab": (
        {"x-gitlab-event": "Push Hook"},
        {
            "ref": "refs/heads/main",
            "project": {
                "git_http_url": "https://github.com/org/shop.git",
                "git_ssh_url": "git@github.com:org/shop.git",
                "default_branch": "main",
            },
        },
    ),
    "gitea": (
        {"x-gitea-event": "push"},
        {
            "ref": "refs/heads/main",
            "repository": {"clone_url": "https://github.com/org/shop", "default_branch": "main"},
        },
    ),
    "bitbucket": (
        {"x-event-key": "repo:push"},
        {
            "push": {"changes": [{"new": {"type": "branch", "name": "main"}}]},
            "repository": {"links": {"html": {"href": "https://github.com/org/shop"}}},
        },
    ),
    "bitbucket data center": (
        {"x-event-key": "repo:refs_changed"},
        {
            "changes": [{"ref": {"id": "refs/heads/main"}}],
            "repository": {
                "links": {"clone": [{"href": "ssh://git@github.com:7999/org/shop.git"}]}
            },
        },
    ),
}
OURS = frozenset({same_place("https://github.com/org/shop.git")})


@pytest.mark.parametrize("forge", FORGES)
def test_only_what_was_made_with_our_secret_is_genuine(forge):
    assert is_genuine(forge, SIGNED[forge], BODY, SECRET)
    assert not is_genuine(forge, SIGNED[forge], BODY, "another")
    assert not is_genuine(forge, {}, BODY, SECRET)
    assert not is_genuine(forge, dict.fromkeys(SIGNED[forge], ""), BODY, SECRET)
    assert not is_genuine(forge, dict.fromkeys(SIGNED[forge], "sha256=ü"), BODY, SECRET)
    if forge != "gitlab":
        assert not is_genuine(forge, SIGNED[forge], BODY + b" ", SECRET)


@pytest.mark.parametrize("name", PUSHES)
def test_a_push_of_each_forge_names_repository_and_ref(name):
    headers, payload = PUSHES[name]
    push = push_of(name.split()[0], headers, payload)
    assert push.is_of(OURS)
    assert push.concerns("main")
    assert push.concerns("refs/heads/main")
    assert push.concerns(None)
    assert not push.concerns("other")
    assert not push.is_of(frozenset({same_place("https://github.com/org/other")}))


def test_a_push_of_another_branch_is_none_of_the_default_one():
    headers, payload = PUSHES["github"]
    push = push_of("github", headers, {**payload, "ref": "refs/heads/feature"})
    assert not push.concerns(None)
    assert push.concerns("feature")


def test_a_tag_moves_a_ref_of_that_name():
    assert Push(frozenset(), frozenset({"refs/tags/v1"})).concerns("v1")


def test_what_is_no_push_tells_nothing():
    assert push_of("github", {"x-github-event": "ping"}, {"zen": "x"}) is None
    assert push_of("gitlab", {}, {}) is None


@pytest.mark.parametrize("forge", FORGES)
@given(
    payload=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["ref", "repository", "project", "push", "changes", "links", "new"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ).filter(lambda value: isinstance(value, dict))
)
def test_whatever_comes_is_a_push_or_refused(forge, payload):
    headers = PUSHES[forge][0]
    try:
        push = push_of(forge, headers, payload)
    except ValueError:
        return
    assert isinstance(push, Push)
    push.is_of(OURS)
    push.concerns("main")


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/org/shop",
        "https://user:pw@GitHub.com/Org/Shop.git/",
        "ssh://git@github.com:22/org/shop.git",
        "git@github.com:org/shop.git",
    ],
)
def test_all_spellings_of_an_address_are_one_place(address):
    assert {same_place(address)} == OURS
