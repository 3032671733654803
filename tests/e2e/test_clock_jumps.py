"""The machine's clock jumps, as after a wrong battery or a late time server; the service goes on.

What is due, dead or newer is told by Prefect's clock, and what takes long by one that never goes
back. libfaketime sets the clock that the service sees; the Prefect server has the right one.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.serving import Serving
from tests.testbed import packages, seed
from tests.testbed.git_http import GitHttpServer
from tests.testbed.thorough import THOROUGH

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

JUMPS = {"+3600s": timedelta(hours=1), "+400d": timedelta(days=400), "-7200s": timedelta(hours=-2)}
SOME = JUMPS if THOROUGH else {name: JUMPS[name] for name in ("+400d", "-7200s")}


def library():
    packages.install("faketime", "faketime", "libfaketime")
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


@pytest.fixture
def jumping(server, tmp_path):
    (tmp_path / "served").mkdir()
    offset = tmp_path / "offset"
    offset.write_text("+0s")
    with GitHttpServer(tmp_path / "served") as git:
        bare = tmp_path / "served" / "shop.git"
        with Serving(server, tmp_path, git.url("shop.git"), bare) as serving:
            serving.env |= {
                "LD_PRELOAD": str(library()),
                "FAKETIME_TIMESTAMP_FILE": str(offset),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "RECONCILER_AGENT_PYTHON": str(server.python),
                "RECONCILER_DRIFT_SECONDS": "3",
            }
            serving.jump = offset.write_text
            yield serving


def declare(serving, number):
    serving.declare(NUMBER=str(number))
    serving.declare_noop(f"n{number}")


def test_pushes_are_applied_drift_is_healed_and_runs_are_launched_whatever_the_clock_says(jumping):
    declare(jumping, 0)
    jumping.push()
    jumping.start()
    with jumping.server.client() as client:
        made = seed.request(client, "GET", "/deployments/name/noop/noop")["id"]
        for number, (jump, by) in enumerate(SOME.items(), start=1):
            jumping.jump(jump)
            declare(jumping, number)
            head = jumping.push()
            jumping.hook(after=head)
            jumping.in_force(head)
            assert jumping.live == {"NUMBER": str(number)}
            now = datetime.now(UTC) + by
            hours = {f'"timestamp": "{at:%Y-%m-%dT%H}' for at in (now, now - timedelta(minutes=1))}
            assert any(hour in jumping.output for hour in hours), "it does see another clock"
            jumping.edit(NUMBER="by hand")
            jumping.until(lambda number=number: jumping.live == {"NUMBER": str(number)})
            run = seed.flow_run(client, made)["id"]
            assert seed.wait_for_state(client, run, seconds=180)["state"]["type"] == "COMPLETED"
    runs = seed.listing(jumping.server.client(), "flow_runs")
    assert all(run["run_count"] == 1 for run in runs)
    assert "lost" not in jumping.output
