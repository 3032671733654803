"""A third of all answers spoilt: the apply converges, and what its report says is so."""

import pytest

from tests.e2e.agreement import at_rest, inventory, live
from tests.e2e.site import HOURLY, deployment, process
from tests.testbed import seed
from tests.testbed.fault import Fault, Rule, When

COUNT = 3
MANY = 8
PATIENT = {"PREFECT_API_REQUEST_TIMEOUT": "5"}
SPOILT = (  # each draws for itself: together 30 %
    Rule(Fault.BUSY, share=0.08),
    Rule(Fault.BUSY, When.AFTER, share=0.05),
    Rule(Fault.LIMITED, share=0.06, seconds=0.3),
    Rule(Fault.RESET, share=0.06),
    Rule(Fault.RESET, When.AFTER, share=0.05),
    Rule(Fault.TRUNCATED, share=0.03),
    Rule(Fault.HANG, share=0.01, seconds=7),
    Rule(Fault.HANG, When.AFTER, share=0.01, seconds=7),
)


def declare(site, tag, *, extra=(), count=COUNT):
    """Blocks, one of them referring to another, and deployments with schedules."""
    names = [*map(str, range(count)), *extra]
    site.write("blocks.yaml", *(process(f"b{name}", env={"TAG": tag}) for name in names))
    site.write(
        "references.yaml",
        {
            "kind": "Block",
            "block_type_slug": "docker-registry",
            "name": "private",
            "data": {"username": tag, "password": "p", "registry_url": "https://example.org"},
        },
        {
            "kind": "Block",
            "block_type_slug": "docker-container",
            "name": "etl",
            "data": {"image": tag, "image_registry": {"$ref": "docker-registry/private"}},
        },
    )
    site.write(
        "deployments.yaml",
        *(
            deployment(
                f"d{name}", infrastructure=f"process/b{name}", tags=[tag], schedules=[HOURLY]
            )
            for name in names
        ),
    )
    blocks = {f"block/process/b{name}" for name in names}
    deployments = {f"deployment/etl/d{name}" for name in names}
    return blocks | deployments | {"block/docker-registry/private", "block/docker-container/etl"}


def report_is_right(site, report):
    """Every outcome is what the server holds."""
    found = live(site)
    for change in report["changes"]:
        key, there = change["key"], change["key"] in found
        if change["outcome"] == "done":
            assert there is (change["action"] != "delete"), change
        elif change["action"] == "create":
            assert not there, change
        elif change["action"] == "delete":
            assert there, change
        assert (change["error"] is None) is (change["outcome"] == "done"), change
        if key.startswith("deployment/") and there and change["outcome"] == "done":
            with site.server.client() as client:
                live_tags = seed.request(client, "GET", f"/deployments/{found[key]}")["tags"]
            wanted = [f["after"] for f in change["fields"] if f["path"] == "tags"]
            assert [live_tags] == wanted, change


def faults(site):
    return sum(seen.fault is not None for seen in site.proxy.requests)


@pytest.mark.slow
def test_a_third_of_all_answers_spoilt_the_apply_converges_and_its_report_is_right(site):
    keys = declare(site, "one", extra=["old"], count=MANY)
    site.proxy.add(*SPOILT)
    spoilt = requests = 0
    for tag in ("one", "two"):
        if tag == "two":
            keys = declare(site, tag, count=MANY)
        report = site.apply(env=PATIENT, timeout=500)
        spoilt += faults(site)
        requests += len(site.proxy.requests)
        assert report["converged"], report
        report_is_right(site, report)
        at_rest(site, keys)
    # A fifth of so many is more than three deviations below what is drawn.
    assert spoilt > requests / 5
    site.proxy.heal()
    site.settled()


def test_what_never_gets_through_is_reported_failed_and_is_not_there(site):
    """Creates are refused for good where the rest works: the report tells which is which."""
    keys = declare(site, "one")
    site.proxy.add(Rule(Fault.BUSY, method="POST", path="/deployments/$"))
    report = site.apply(code=1, env={"RECONCILER_API_DEADLINE_SECONDS": "3"}, timeout=300)
    report_is_right(site, report)
    assert not report["converged"]
    assert {c["key"] for c in report["changes"] if c["outcome"] == "failed"} == {
        key for key in keys if key.startswith("deployment/")
    }
    # What may have been made keeps its intent: the next apply finds out and owns it.
    assert set(inventory(site)) == keys
    site.proxy.heal()
    assert site.apply()["converged"]
    at_rest(site, keys)
    site.settled()
