"""What would keep deployments from being launched is said before, at the field that is to blame."""

import pytest

from reconciler.app import App
from reconciler.app.preflight import preflight
from reconciler.kinds import KINDS
from reconciler.manifests.load import LoadOptions, load
from reconciler.model.keys import Key
from reconciler.settings import load as load_settings
from tests.fakes.engine import FakeEngine
from tests.fakes.manual_clock import ManualClock
from tests.fakes.prefect_memory import MemoryApi, MemoryPrefect
from tests.fakes.trees import tree
from tests.testbed.azure import Azure

pytestmark = pytest.mark.anyio

POLICY = "name: x\nsecrets: [{env: RECONCILER_SECRET_}]\n"

BOX = """kind: Block
block_type_slug: docker-container
name: box
data:
  image: etl:1
  networks: [inner]
"""
PROCESS = """kind: Block
block_type_slug: process
name: local
data:
  working_dir: WHERE
"""


def deployment(name="nightly", infrastructure="docker-container/box", **more):
    fields = {
        "kind": "Deployment",
        "flow_name": "etl",
        "name": name,
        "entrypoint": "flows/etl.py:etl",
        "infrastructure": infrastructure,
        "path": "/opt/code",
        **more,
    }
    return "".join(f"{key}: {value}\n" for key, value in fields.items() if value is not None)


async def found(tmp_path, *documents, only=None, no_secrets=False, **variables):
    environ = {
        "DOCKER_HOST": f"unix://{tmp_path}/no.sock",
        "PREFECT_API_URL": "https://prefect.example.com/api",
        "RECONCILER_AGENT_STATE_DIR": str(tmp_path),
        **variables,
    }
    files = {"reconciler.yaml": POLICY, "a.yaml": "---\n".join(documents)}
    desired = load(tree(files), LoadOptions(no_secrets=no_secrets, secret_env=environ), KINDS)
    app = App(load_settings(environ), environ, ManualClock())
    problems = await preflight(app, MemoryApi(MemoryPrefect()), desired, only)
    return [str(problem) for problem in problems]


async def test_an_engine_that_is_away_is_said_once_for_all_that_need_it(tmp_path):
    [told] = await found(tmp_path, BOX, deployment("a"), deployment("b"), deployment("c"))
    assert told.startswith("a.yaml:12:1: pre-flight: the Docker engine can't be reached")
    assert told.endswith("(and 2 more deployments with it)")


async def test_a_field_of_the_block_is_named_with_its_own_place(tmp_path):
    block = PROCESS.replace("WHERE", f"{tmp_path}/none")
    [told] = await found(tmp_path, block, deployment(infrastructure="process/local"))
    assert (
        told == f"a.yaml:5:3: pre-flight: working_dir {tmp_path}/none is no folder on this machine"
    )


async def test_an_override_counts(tmp_path):
    block = PROCESS.replace("WHERE", str(tmp_path))
    overrides = f"{{working_dir: {tmp_path}/other}}"
    one = deployment(infrastructure="process/local", job_variables=overrides)
    [told] = await found(tmp_path, block, one)
    assert f"working_dir {tmp_path}/other is no folder" in told


async def test_what_is_right_is_not_mentioned(tmp_path):
    block = PROCESS.replace("WHERE", str(tmp_path))
    assert await found(tmp_path, block, deployment(infrastructure="process/local")) == []


async def test_code_that_only_this_repository_has_is_out_of_a_containers_reach(tmp_path):
    told = await found(tmp_path, BOX, deployment(path=None))
    assert "a.yaml:11:1: pre-flight: a docker-container has no checkout" in told[0]
    with_steps = deployment(
        path=None, pull_steps="[{prefect.deployments.steps.set_working_directory: {directory: /}}]"
    )
    assert not any("checkout" in one for one in await found(tmp_path, BOX, with_steps))
    base = deployment(path="$STORAGE_BASE_PATH")
    assert any("checkout" in one for one in await found(tmp_path, BOX, base))


@pytest.mark.parametrize(
    "more",
    [{"paused": "true"}, {"work_pool_name": "k8s-workers"}, {"reconcile": "{suspend: true}"}],
    ids=str,
)
async def test_what_is_not_launched_by_us_is_left_out(tmp_path, more):
    assert await found(tmp_path, BOX, deployment(**more)) == []


async def test_only_what_changes_is_looked_at_in_a_plan(tmp_path):
    nightly = Key.of("deployment", "etl", "nightly")
    box = Key.of("block", "docker-container", "box")
    one = deployment()
    assert await found(tmp_path, BOX, one, only=set()) == []
    assert await found(tmp_path, BOX, one, only={nightly})
    assert await found(tmp_path, BOX, one, only={box})


async def test_without_secrets_no_platform_is_asked(tmp_path):
    assert await found(tmp_path, BOX, deployment(), no_secrets=True) == []


async def test_a_block_that_cannot_be_used_with_its_overrides_is_named(tmp_path):
    [told] = await found(tmp_path, BOX, deployment(job_variables="{auto_remove: perhaps}"))
    assert "the docker-container block can't be used: auto_remove" in told
    assert "perhaps" not in told


AZURE = """kind: Block
block_type_slug: azure-container-instance-job
name: west
data:
  resource_group_name: flows
  subscription_id: 33333333-3333-3333-3333-333333333333
  aci_credentials: {$ref: azure-container-instance-credentials/agent}
---
kind: Block
block_type_slug: azure-container-instance-credentials
name: agent
data:
  client_id: 22222222-2222-2222-2222-222222222222
  tenant_id: 11111111-1111-1111-1111-111111111111
  client_secret: ${{ secrets.AZURE }}
"""


async def test_expired_credentials_are_said_at_their_field(tmp_path):
    with Azure(FakeEngine()) as cloud:
        told = await found(
            tmp_path,
            AZURE,
            deployment(infrastructure="azure-container-instance-job/west"),
            RECONCILER_SECRET_AZURE="canary",
            RECONCILER_AZURE_ENDPOINT=cloud.url,
            RECONCILER_AZURE_AUTHORITY=cloud.url,
            RECONCILER_PLATFORM_CA_FILE=str(cloud.ca_file),
        )
    [told] = told
    assert told.startswith("a.yaml:7:3: pre-flight: Azure does not take our credentials")
    assert "expired" in told
    assert "canary" not in told
