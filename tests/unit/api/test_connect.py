import base64
import ssl

import certifi
import httpx
import pytest
from structlog.testing import capture_logs

from reconciler import errors
from reconciler.api.connect import connect
from reconciler.settings import ConnectionSettings
from tests.fakes.clock import VirtualClock
from tests.fakes.http import ScriptedServer, answer

pytestmark = pytest.mark.anyio

URL = "http://prefect.test/api"
CLOUD = (
    "https://api.prefect.cloud/api/accounts/0f0f0f0f-0000-4000-8000-000000000000"
    "/workspaces/0f0f0f0f-0000-4000-8000-000000000001"
)


async def facts(server, url=URL, **settings):
    made = ConnectionSettings.to(url, **settings)
    async with connect(made, VirtualClock(), transport=server) as api:
        return api.facts


def prefect(version, automations=200):
    return ScriptedServer(answer(200, version), answer(automations, 0))


async def test_prefect_3_is_recognised_by_one_request():
    server = prefect("3.8.8")
    found = await facts(server)
    assert (str(found), found.is_v2, found.automations) == ("Prefect 3.8.8", False, True)
    assert server.asked == ["GET /api/admin/version"]


@pytest.mark.parametrize(("status", "has"), [(404, False), (200, True)])
async def test_prefect_2_is_asked_whether_it_has_automations(status, has):
    found = await facts(prefect("2.20.26", status))
    assert found.is_v2
    assert found.automations is has


async def test_cloud_is_recognised_by_its_address_and_counts_as_3():
    server = ScriptedServer(answer(200, 7))
    found = await facts(server, CLOUD, api_key="pnu_x")
    assert (found.cloud, found.version.major, found.automations) == (True, 3, True)
    assert [line.rpartition("/flows")[2] for line in server.asked] == ["/count"]


async def test_cloud_with_a_wrong_key_is_unauthorised():
    with pytest.raises(errors.Unauthorised):
        await facts(ScriptedServer(answer(401)), CLOUD)


@pytest.mark.parametrize("version", ["2.19.9", "2.14.0", "1.4.0"])
async def test_an_old_server_is_refused_with_its_version(version):
    with pytest.raises(errors.Unsupported, match=version):
        await facts(prefect(version))


@pytest.mark.parametrize(("status", "kind"), [(401, errors.Unauthorised), (403, errors.Forbidden)])
async def test_refused_credentials_are_said(status, kind):
    with pytest.raises(kind):
        await facts(ScriptedServer(answer(status)))


def web_page(status=200):
    return httpx.Response(status, html="<html>")


@pytest.mark.parametrize(
    "first",
    [web_page(), web_page(404), answer(404, {"detail": "Not Found"})],
    ids=["ui", "404 page", "404"],
)
async def test_a_missing_api_suffix_is_found_out(first):
    server = ScriptedServer(first, answer(200, True))
    with pytest.raises(errors.NotPrefect) as caught:
        await facts(server, "http://prefect.test")
    assert caught.value.hint == "did you mean http://prefect.test/api?"


@pytest.mark.parametrize(
    "second", [answer(404), answer(200, {}), httpx.Response(200, html="<html>")]
)
async def test_something_else_altogether_is_no_prefect(second):
    with pytest.raises(errors.NotPrefect) as caught:
        await facts(ScriptedServer(web_page(), second), "http://prefect.test")
    assert "a web page" in str(caught.value)
    assert "ends in /api" in (caught.value.hint or "")


async def test_a_wrong_path_below_api_is_not_asked_again():
    server = ScriptedServer(answer(404))
    with pytest.raises(errors.NotPrefect, match="status 404"):
        await facts(server)
    assert len(server.requests) == 1


async def test_a_version_that_is_no_text_is_no_prefect():
    with pytest.raises(errors.NotPrefect):
        await facts(ScriptedServer(answer(200, {"version": 1})))


async def test_without_an_address_it_says_how_to_give_one():
    with pytest.raises(errors.UsageError) as caught:
        async with connect(ConnectionSettings(), VirtualClock()):
            pass
    assert "PREFECT_API_URL" in (caught.value.hint or "")


async def test_nobody_there_is_unreachable():
    with pytest.raises(errors.Unreachable, match=r"prefect\.test"):
        await facts(ScriptedServer(otherwise=httpx.ConnectError("refused")))


async def test_a_wrong_certificate_is_not_tried_again():
    cause = ssl.SSLCertVerificationError(1, "self-signed certificate")
    error = httpx.ConnectError("x")
    error.__cause__ = cause
    server = ScriptedServer(otherwise=error)
    with pytest.raises(errors.Unreachable, match="self-signed") as caught:
        await facts(server)
    assert len(server.requests) == 1
    assert "PREFECT_API_SSL_CERT_FILE" in (caught.value.hint or "")


async def test_https_to_a_server_without_is_hinted_at():
    error = httpx.ConnectError("x")
    error.__cause__ = ssl.SSLError(1, "wrong version number")
    with pytest.raises(errors.Unreachable) as caught:
        await facts(ScriptedServer(otherwise=error))
    assert caught.value.hint == "does the server speak https at all?"


async def test_an_error_without_words_still_says_something():
    with pytest.raises(errors.Unreachable, match="broken off"):
        await facts(ScriptedServer(otherwise=httpx.ConnectError("")))


async def test_a_certificate_file_that_is_none_is_a_usage_error(tmp_path):
    wrong = tmp_path / "ca.pem"
    for content in (None, "no certificate"):
        if content:
            wrong.write_text(content)
        with pytest.raises(errors.UsageError, match=r"ca\.pem"):
            await facts(prefect("3.8.8"), "https://prefect.test/api", ca_file=wrong)


@pytest.mark.parametrize(
    "more", [{}, {"tls_insecure": True}, {"ca_file": certifi.where()}], ids=str
)
async def test_https_works_with_each_kind_of_trust(more):
    assert await facts(prefect("3.8.8"), "https://prefect.test/api", **more)


async def header(name, **settings):
    server = prefect("3.8.8")
    await facts(server, **settings)
    return server.requests[0].headers.get(name)


async def test_the_key_is_a_bearer_token():
    assert await header("authorization", api_key="pnu_x") == "Bearer pnu_x"


async def test_the_auth_string_wins_over_the_key():
    wanted = "Basic " + base64.b64encode(b"admin:p:w").decode()
    assert await header("authorization", api_key="pnu_x", auth_string="admin:p:w") == wanted


async def test_custom_headers_are_sent_and_may_replace_the_authorization():
    custom = {"X-Team": "data", "authorization": "Token abc"}
    assert await header("x-team", custom_headers=custom) == "data"
    assert await header("authorization", custom_headers=custom, api_key="k") == "Token abc"


async def test_protected_headers_are_left_out_with_a_warning():
    with capture_logs() as logged:
        agent = await header("user-agent", custom_headers={"User-Agent": "me", "X-A": "hush"})
    assert agent.startswith("prefect-reconciler/")
    assert logged[0]["names"] == ["User-Agent"]
    assert "hush" not in str(logged)


async def test_without_credentials_none_are_sent():
    assert await header("authorization") is None


async def test_requests_are_observed_from_the_first_on():
    seen = []
    made = ConnectionSettings.to(URL)
    async with connect(
        made, VirtualClock(), transport=prefect("3.8.8"), observer=lambda *event: seen.append(event)
    ):
        pass
    assert [event[:2] for event in seen] == [("GET", "200")]
