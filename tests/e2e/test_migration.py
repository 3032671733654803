"""From Prefect 2.20 to 3.8: a workspace of 300 objects exported, applied in one go, and at work there."""

import pytest

from tests.integration.agents import ensure_pool
from tests.testbed import seed
from tests.testbed.cli import Cli

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FLOW = """\
import os
from prefect import flow

@flow
def tell(number: int = 0):
    print("number", number, os.environ["PLACE"])
"""
BLOCKS, DEPLOYMENTS, OTHERS = 60, 180, 60
SAMPLE = (0, 77, 179)


def fill(client, flows):
    """Make a mixed workspace by hand, as years of clicking do."""
    ensure_pool(client)
    infrastructure = [
        seed.block(client, "process", f"local-{n}", {"env": {"PLACE": f"place {n}"}})["id"]
        for n in range(BLOCKS)
    ]
    for number in range(DEPLOYMENTS):
        seed.deployment(
            client,
            f"tell-{number}",
            flow_name="tell",
            entrypoint="tell.py:tell",
            path=str(flows),
            infrastructure_document_id=infrastructure[number % BLOCKS],
            work_pool_name="default-agent-pool",
            parameters={"number": number},
            tags=[f"t{number % 7}"],
            schedules=[{"schedule": {"cron": f"{number % 60} 3 1 1 *"}, "active": number % 2 == 0}],
            description=f"The {number}th.",
        )
    for number in range(OTHERS // 3):
        body = {"name": f"v_{number}", "value": f"value {number}"}
        seed.request(client, "POST", "/variables/", body)
        body = {"name": f"limit-{number}", "limit": number + 1}
        seed.request(client, "POST", "/v2/concurrency_limits/", body)
        body = {"tag": f"tag-{number}", "concurrency_limit": number + 1}
        seed.request(client, "POST", "/concurrency_limits/", body)


def test_a_workspace_of_300_objects_moves_and_its_runs_work_there(prefect2, prefect3, tmp_path):
    flows = tmp_path / "flows"
    flows.mkdir()
    (flows / "tell.py").write_text(FLOW)
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    with prefect2.client() as client:
        fill(client, flows)
    old = Cli(tmp_path / "old", prefect2.client_env)
    done = old("export", "--out", str(tmp_path / "workspace"), timeout=300)
    assert done.code == 0, done.output
    assert "60 blocks" in done.stderr
    assert "180 deployments" in done.stderr

    new = Cli(tmp_path / "new", prefect3.client_env)
    done = new("apply", "--yes", tmp_path / "workspace", "--format", "json", timeout=600)
    assert done.code == 0, done.output
    assert done.json()["summary"]["create"] == BLOCKS + DEPLOYMENTS + OTHERS + 1, "and their pool"
    print(f"{BLOCKS + DEPLOYMENTS + OTHERS} objects applied in {done.seconds:.0f} s")
    plan = new("plan", tmp_path / "workspace", "--format", "json").json()
    assert plan["changes"] == []

    env = {"RECONCILER_AGENT_PYTHON": str(prefect3.python), "RECONCILER_AGENT_POLL_SECONDS": "1"}
    with prefect3.client() as client, new.start("agent", "-q", "default", env=env):
        for number in SAMPLE:
            found = seed.find_deployment(client, f"tell-{number}", "tell")
            run = seed.flow_run(client, found["id"])["id"]
            state = seed.wait_for_state(client, run, seconds=180)["state"]
            assert state["type"] == "COMPLETED", state
            assert found["tags"] == [f"t{number % 7}"]
            assert found["schedules"][0]["active"] == (number % 2 == 0)
