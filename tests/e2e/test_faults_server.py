"""The server dies in the middle of an apply, for good or for a moment."""

import threading
import time

import pytest

from reconciler.engine.lease import TTL
from tests.e2e.agreement import age_leases, at_rest, live
from tests.e2e.test_faults_answers import declare, report_is_right
from tests.testbed.fault import When

CREATES = r"/deployments/$"


def test_a_server_that_dies_in_the_middle_ends_the_apply_with_a_report_that_is_right(site):
    keys = declare(site, "one")
    site.proxy.call_at(2, site.server.kill, When.AFTER, path=CREATES)
    report = site.apply(code=1, env={"RECONCILER_API_DEADLINE_SECONDS": "4"}, timeout=300)
    assert not report["converged"]
    site.proxy.heal()
    site.server.start()
    outcomes = {change["key"]: change["outcome"] for change in report["changes"]}
    done = {key for key, outcome in outcomes.items() if outcome == "done"}
    assert done <= set(live(site)) <= keys
    assert set(outcomes) == keys
    assert set(outcomes.values()) > {"done"}
    assert all(c["error"] for c in report["changes"] if c["outcome"] != "done")
    age_leases(site.server)
    assert site.apply()["converged"]
    at_rest(site, keys)
    site.settled()


@pytest.mark.parametrize("moment", list(When))
def test_a_server_restarted_in_the_middle_is_waited_for(site, moment):
    keys = declare(site, "one")
    downtimes = []

    def restart():
        begun = time.monotonic()
        site.server.kill()
        site.server.start()
        downtimes.append(time.monotonic() - begun)

    thread = threading.Thread(target=restart)
    site.proxy.call_at(2, thread.start, moment, path=CREATES)
    done = site.run("apply", "--yes", "--format", "json", timeout=300)
    thread.join()
    report = done.json()
    report_is_right(site, report)
    if downtimes[0] < TTL / 3:
        assert report["converged"], report
    elif not report["converged"]:  # a machine so slow that the lease ran out meanwhile
        assert "could not be renewed in time" in report["error"]
        age_leases(site.server)
        assert site.apply()["converged"]
    at_rest(site, keys)
    site.settled()
