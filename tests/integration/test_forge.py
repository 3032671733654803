"""Comments and commit statuses on forges that answer as the real ones do."""

from functools import partial

import pytest

from reconciler import outgoing
from reconciler.errors import NotFound, Overloaded, Rejected, Unauthorised, Unreachable
from reconciler.forge import CommitStatus, Project, Verdict, forge_of
from tests.fakes.clock import VirtualClock
from tests.testbed.forges import PROJECT, STRANGER, TOKEN, ForgeServer
from tests.testbed.http_api import Reply

pytestmark = pytest.mark.anyio

MARKER = "<!-- reconciler: prod -->"
SHA = "a" * 40


@pytest.fixture(params=["github", "gitea", "gitlab"])
def server(request):
    with ForgeServer(request.param) as running:
        yield running


@pytest.fixture
async def forge(server):
    async with outgoing.client() as http:
        yield forge_of(http, Project(server.kind, server.api, PROJECT), lambda: TOKEN)


async def test_there_is_one_comment_renewed_each_time(server, forge):
    await forge.comment(7, MARKER, "first")
    await forge.comment(7, MARKER, "second")
    await forge.comment(8, MARKER, "of another request")
    await forge.comment(7, "<!-- reconciler: dev -->", "of another environment")
    assert [one["body"] for one in server.comments] == [
        f"{MARKER}\nsecond",
        f"{MARKER}\nof another request",
        "<!-- reconciler: dev -->\nof another environment",
    ]


async def test_what_somebody_else_wrote_as_if_it_were_ours_is_left_alone(server, forge):
    """They could change it again after we wrote into it."""
    server.add(f"{MARKER}\nall is well, merge it", STRANGER)
    await forge.comment(7, MARKER, "the truth")
    assert [one["body"] for one in server.comments] == [
        f"{MARKER}\nall is well, merge it",
        f"{MARKER}\nthe truth",
    ]
    await forge.comment(7, MARKER, "newer")
    assert [one["body"][len(MARKER) + 1 :] for one in server.comments][1:] == ["newer"]


async def test_a_token_of_a_person_finds_their_own_comment(server, forge):
    server.me = {"login": "ada", "type": "User", "id": 4}
    await forge.comment(7, MARKER, "first")
    await forge.comment(7, MARKER, "second")
    assert [one["body"] for one in server.comments] == [f"{MARKER}\nsecond"]


async def test_ours_is_found_behind_many_others(server, forge):
    for number in range(250):
        server.add(f"chatter {number}", STRANGER)
    server.add(f"{MARKER}\nold", server.me)
    await forge.comment(7, MARKER, "new")
    assert server.comments[-1]["body"] == f"{MARKER}\nnew"
    assert len(server.comments) == 251


@pytest.mark.parametrize("verdict", list(Verdict))
async def test_a_commit_is_marked(server, forge, verdict):
    await forge.mark(SHA, CommitStatus(verdict, "3 applied", link="https://reconciler.example"))
    [status] = server.statuses
    wanted = {"failure": "failed"} if server.kind == "gitlab" else {}
    assert status["state"] == wanted.get(verdict.value, verdict.value)
    assert status["description"] == "3 applied"
    assert status["target_url"] == "https://reconciler.example"
    assert status.get("context", status.get("name")) == "reconciler"


async def test_a_long_sentence_is_cut_and_a_mark_that_is_there_is_no_trouble(server, forge):
    status = CommitStatus(Verdict.PENDING, "x" * 1000)
    await forge.mark(SHA, status)
    await forge.mark(SHA, status)
    assert server.statuses[0]["description"].endswith("…")


async def test_passing_trouble_is_waited_out(server, forge):
    server.refusals = [
        Reply(403, {"message": "API rate limit exceeded"}, {"x-ratelimit-remaining": "0"}),
        Reply(429, {"message": "slow down"}, {"retry-after": "7"}),
        Reply(502, b"<html>bad gateway</html>"),
    ]
    clock = VirtualClock()
    mark = partial(forge.mark, SHA, CommitStatus(Verdict.SUCCESS, "done"))
    await outgoing.patiently(mark, clock, 60)
    assert len(server.statuses) == 1
    assert clock.monotonic() > 7


async def test_what_does_not_pass_is_said_without_address_or_token(server):
    async with outgoing.client() as http:
        for token, status, kind in (
            ("wrong", None, Unauthorised),
            (TOKEN, Reply(404, {"message": "Not Found"}), NotFound),
            (TOKEN, Reply(422, {"message": "No commit found"}), Rejected),
            (TOKEN, Reply(302, None, {"location": "http://127.0.0.1:1/"}), Rejected),
            (TOKEN, Reply(500, b"oops"), Overloaded),
        ):
            server.refusals = [] if status is None else [status]
            forge = forge_of(http, Project(server.kind, server.api, PROJECT), lambda t=token: t)
            with pytest.raises(kind) as error:
                await forge.mark(SHA, CommitStatus(Verdict.SUCCESS, "done"))
            assert token not in str(error.value)
            assert "http" not in str(error.value)


async def test_a_forge_that_is_not_there_is_passing_trouble():
    async with outgoing.client() as http:
        forge = forge_of(http, Project("github", "http://127.0.0.1:1", PROJECT), lambda: TOKEN)
        with pytest.raises(Unreachable, match="GitHub can't be reached"):
            await forge.mark(SHA, CommitStatus(Verdict.SUCCESS, "done"))
