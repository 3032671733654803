"""The test bed's own promises: real versions, clean databases, servers that tests may kill."""

import httpx
import pytest

from tests.testbed import seed


def test_a_server_is_the_version_that_its_label_says(server):
    with server.client() as client:
        assert client.get("/admin/version").json() == server.version


def test_a_seeded_server_shows_what_was_seeded(server):
    with server.client() as client:
        made = seed.block(client, "secret", "token", {"value": "x"})
        deployed = seed.deployment(client, storage_document_id=None, tags=["a"])
        run = seed.flow_run(client, deployed["id"])
        seed.set_state(client, run["id"], "COMPLETED")

        assert seed.wait_for_state(client, run["id"])["state_type"] == "COMPLETED"
        assert seed.find_deployment(client, "nightly")["tags"] == ["a"]
        assert [each["id"] for each in seed.listing(client, "block_documents")] == [made["id"]]
        assert seed.counts(client)["flow_runs"] == 1


@pytest.mark.parametrize("time", [1, 2])
def test_each_test_finds_a_clean_server(server, time):
    with server.client() as client:
        assert set(seed.counts(client).values()) == {0}
        seed.deployment(client)
        seed.custom_block_type(client, "mine", size={"type": "integer", "title": "Size"})
        seed.block(client, "mine", "one", {"size": 1})


def test_scheduled_deployments_get_flow_runs_by_themselves(server):
    schedule = {"schedule": {"interval": 3600}, "active": True}
    with server.client() as client:
        seed.deployment(client, schedules=[schedule])
        seed.wait_until(lambda: seed.listing(client, "flow_runs"), seconds=30)


def test_a_killed_server_comes_back_with_its_data(fresh_server):
    server = fresh_server(3)
    with server.client() as client:
        seed.deployment(client)
    first = server.pid

    server.kill()
    with pytest.raises(httpx.ConnectError), server.client() as client:
        seed.counts(client)
    server.restart()

    assert server.pid != first
    with server.client() as client:
        assert seed.find_deployment(client, "nightly")


def test_a_server_may_want_a_password_and_csrf_tokens(fresh_server):
    server = fresh_server(3, auth_string="admin:pass", csrf=True)

    assert httpx.get(f"{server.url}/admin/version").status_code == 401
    with server.client() as client:
        assert client.get("/admin/version").is_success
        assert client.post("/flows/filter", json={}).status_code == 403
