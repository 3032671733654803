"""Two applies at once, and one whose lease is stolen: nothing is lost, nothing is written twice."""

import json
from collections import Counter

import pytest

from tests.e2e.agreement import at_rest, inventory, live
from tests.e2e.site import Site, deployment, process
from tests.e2e.test_faults_answers import declare
from tests.testbed import seed
from tests.testbed.cli import Cli
from tests.testbed.fault import Fault, FaultProxy, Rule, When

WAITING = ("--yes", "--lock-timeout", "300")


@pytest.fixture
def other(site, tmp_path):
    """A second user with a tree and a proxy of his own, on the same server."""
    home, tree = tmp_path / "home2", tmp_path / "tree2"
    home.mkdir()
    tree.mkdir()
    with FaultProxy(site.server.url) as proxy:
        made = Site(site.server, proxy, Cli(home, {"PREFECT_API_URL": proxy.url}), tree)
        made.policy()
        yield made


def at_once(*sites):
    """Apply all trees at the same time, to success."""
    clis = [Cli(each.cli.home, each.cli.env) for each in sites]
    runs = [cli.start("apply", *WAITING, each.tree) for cli, each in zip(clis, sites, strict=True)]
    for run in runs:
        assert run.wait(400) == 0, run.output


def created(*sites):
    """How often each object was created, by the name that its request gave."""
    return Counter(
        (seen.path, json.loads(seen.body)["name"])
        for each in sites
        for seen in each.proxy.writes
        if seen.path in ("/api/deployments/", "/api/block_documents/")
        and seen.status == 201
        and "holder" not in json.loads(seen.body).get("data", {})
    )


def nothing_twice(*sites):
    twice = {what: count for what, count in created(*sites).items() if count > 1}
    assert not twice


def test_two_applies_of_one_tree_at_once_write_everything_once(site, other):
    keys = declare(site, "one")
    assert declare(other, "one") == keys
    at_once(site, other)
    nothing_twice(site, other)
    at_rest(site, keys)
    site.settled()


def test_two_applies_of_overlapping_trees_at_once_end_as_one_after_the_other(site, other):
    mine = declare(site, "one", extra=["mine"])
    theirs = declare(other, "two", extra=["theirs"])
    at_once(site, other)
    nothing_twice(site, other)
    last, keys = (site, mine) if set(live(site)) == mine else (other, theirs)
    at_rest(site, keys)
    last.settled()


def test_two_inventories_applied_at_once_keep_to_themselves(site, other):
    keys = declare(site, "one")
    other.policy(name="other")
    other.write("etl.yaml", process("other"), deployment("other", infrastructure="process/other"))
    at_once(site, other)
    nothing_twice(site, other)
    at_rest(site, keys | {"block/process/other", "deployment/etl/other"})
    site.settled()
    other.settled()


def test_a_second_apply_that_may_not_wait_is_refused_and_says_who_writes(site):
    keys = declare(site, "one")
    refusals = []

    def second():
        refusals.append(Cli(site.cli.home, site.server.client_env)("apply", "--yes", site.tree))

    site.proxy.call_at(1, second, path=r"/deployments/$")
    assert site.apply()["converged"]
    (refused,) = refusals
    assert refused.code == 1
    assert "is writing shop" in refused.stderr
    assert "--lock-timeout" in refused.stderr
    at_rest(site, keys)


def test_an_apply_whose_lease_is_stolen_in_the_middle_stops_writing_says_so_and_exits_1(site):
    keys = declare(site, "one")
    stolen = []

    def steal():
        with site.server.client() as client:
            (lease,) = (r for r in site.records() if "holder" in r["data"])
            seed.request(client, "DELETE", f"/block_documents/{lease['id']}")
            body = {
                "name": lease["name"],
                "data": {"holder": "thief", "token": "t", "ttl": 45},
                "block_type_id": lease["block_type_id"],
                "block_schema_id": lease["block_schema_id"],
            }
            stolen.append(lease["id"])
            stolen.append(seed.request(client, "POST", "/block_documents/", body)["id"])
            stolen.append(len(site.proxy.requests))

    # The server has made the deployment; its answer comes long after the next renewal.
    rule = Rule(Fault.DELAY, When.AFTER, path=r"/deployments/$", nth=2, seconds=30, action=steal)
    site.proxy.add(rule)
    done = site.run("apply", "--yes", "--format", "json")
    assert done.code == 1
    report = done.json()
    assert "lost: another writer took it" in report["error"]
    lost, thiefs, before = stolen
    after = {s.path for s in site.proxy.requests[before:] if s.is_write}
    found = live(site)
    # A deployment that was written gets its runs back even then: that takes nothing from anybody.
    refills = {f"/api/deployments/{id_}/schedule" for id_ in found.values()}
    assert after - refills == {f"/api/block_documents/{lost}"}
    made = set(found)
    for change in report["changes"]:
        if change["outcome"] == "done":
            assert change["key"] in made
    assert set(inventory(site)) == keys  # intents included: nothing is forgotten
    with site.server.client() as client:
        seed.request(client, "DELETE", f"/block_documents/{thiefs}")  # he still held it
    assert site.apply()["converged"]
    at_rest(site, keys)
    site.settled()
