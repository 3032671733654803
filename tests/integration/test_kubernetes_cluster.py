"""The Kubernetes launcher on a real cluster: what only a cluster can refuse, kill or allow."""

import re
from contextlib import asynccontextmanager

import anyio
import pytest
import yaml

from reconciler.blocks.kubernetes import KubernetesJobSettings
from reconciler.infrastructure.base import Surroundings
from reconciler.infrastructure.kubernetes import KubernetesLauncher
from reconciler.model.launch import LaunchSpec
from reconciler.runtime.clock import SystemClock
from tests.integration.agents import AgentProcess, ensure_pool, infrastructure_block
from tests.testbed import images, seed
from tests.testbed.dockerd import Dockerd
from tests.testbed.environments import ROOT
from tests.testbed.kubernetes import AGENT, Cluster

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("platform kubernetes-job"),
]

POD = "/spec/template/spec"
API = "https://prefect.example.com/api"
FLOW = """
from prefect import flow

@flow(log_prints=True)
def hello(name):
    print("hello", name)
"""


@pytest.fixture(scope="module")
def engine():
    with Dockerd() as made:
        yield made


@pytest.fixture(scope="module")
def cluster(engine):
    images.pybase(engine)
    with Cluster(engine) as made:
        yield made


@asynccontextmanager
async def launcher_on(folder):
    made = KubernetesLauncher(
        Surroundings(
            state_dir=folder, host_dir=folder, inherited=dict, python="x", clock=SystemClock()
        )
    )
    async with anyio.create_task_group() as group:
        group.start_soon(made.watch)
        yield made
        group.cancel_scope.cancel()


def spec(number, cluster, code, *customizations, token=AGENT, **settings):
    block = {
        "cluster_config": {"config": cluster.config(token), "context_name": "test"},
        "image": images.PYBASE,
        "customizations": list(customizations),
        "stream_output": False,
        "finished_job_ttl": 0,
        **settings,
    }
    return LaunchSpec(
        token=f"22222222-2222-8222-8222-{number:012d}",
        flow_run_id=f"run-{number}",
        name="real",
        type="kubernetes-job",
        settings=KubernetesJobSettings(**block),
        command=("python3", "-u", "-c", code),
    )


async def end_of(launcher, wanted):
    handle = await launcher.start(await launcher.create(wanted))
    ended = await launcher.ended(handle)
    await launcher.discard(handle)
    return ended


def test_the_documented_role_is_enough_and_without_it_the_pre_flight_says_so(cluster, tmp_path):
    """The role stands on the page of the type; the agent of this test has nothing else."""
    page = (ROOT / "docs" / "infrastructure" / "kubernetes-job.md").read_text()
    [block] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    role, identity = yaml.safe_load_all(block)
    wanted = spec(1, cluster, "print('allowed')")
    anyio.run(_refused, wanted, tmp_path)

    role["metadata"]["namespace"] = "default"
    api = "/apis/rbac.authorization.k8s.io/v1"
    subject = {"kind": "User", "name": "system:serviceaccount:default:agent"}
    for kind, path in (("Role", f"{api}/namespaces/default"), ("ClusterRole", api)):
        made = role if kind == "Role" else identity
        cluster.ask("POST", f"{path}/{kind.lower()}s", made)
        reference = {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": kind,
            "name": made["metadata"]["name"],
        }
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": f"{kind}Binding",
            "metadata": {"name": made["metadata"]["name"]},
            "roleRef": reference,
            "subjects": [subject],
        }
        cluster.ask("POST", f"{path}/{kind.lower()}bindings", binding)
    anyio.run(_allowed, cluster, wanted, tmp_path)


async def _refused(wanted, folder):
    async with launcher_on(folder) as launcher:
        [told] = await launcher.preflight(wanted.settings, API)
        assert "RECONCILER_KUBERNETES_CLUSTER_UID" in told


def what_is_there(cluster):
    """Pods and what they said, as an administrator sees them: to tell our fault from the cluster's."""
    pods = cluster.items("/api/v1/namespaces/default/pods")
    return [(pod["metadata"]["name"], pod["status"], cluster.log(pod)) for pod in pods]


async def _allowed(cluster, wanted, folder):
    async with launcher_on(folder) as launcher:
        with anyio.move_on_after(30):  # the API server learns of a binding some moments later
            while await launcher.preflight(wanted.settings, API) != ():
                await anyio.sleep(0.5)
        assert await launcher.preflight(wanted.settings, API) == ()
        handle = await launcher.start(await launcher.create(wanted))
        ended = await launcher.ended(handle)
        assert (ended.exit_code, ended.last_lines) == (0, ("allowed",)), what_is_there(cluster)
        await launcher.discard(handle)


async def test_a_container_that_uses_up_its_memory_says_so(cluster, tmp_path):
    limit = {"op": "add", "path": f"{POD}/containers/0/resources"}
    limit["value"] = {"limits": {"memory": "64Mi"}}
    async with launcher_on(tmp_path) as launcher:
        wanted = spec(2, cluster, "x = bytearray(300_000_000)", limit, token="admin-token")
        ended = await end_of(launcher, wanted)
        assert "OOM" in ended.reason, ended


async def test_a_quota_that_lets_no_pod_be_made_is_named(cluster, tmp_path):
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    namespace = {"metadata": {"name": "full"}}
    cluster.ask("POST", "/api/v1/namespaces", namespace)
    cluster.ask("POST", "/api/v1/namespaces/full/resourcequotas", quota)
    account = "/api/v1/namespaces/full/serviceaccounts/default"
    seed.wait_until(lambda: (cluster.ask("GET", account, missing=True) or {}).get("secrets"))
    path = "/api/v1/namespaces/full/resourcequotas/none"
    seed.wait_until(lambda: cluster.ask("GET", path).get("status", {}).get("hard"))
    more = {"namespace": "full", "pod_watch_timeout_seconds": 30, "token": "admin-token"}
    async with launcher_on(tmp_path) as launcher:
        ended = await end_of(launcher, spec(3, cluster, "print(1)", **more))
        assert "exceeded quota: none" in ended.reason, ended
    assert cluster.items("/apis/batch/v1/namespaces/full/jobs") == []


def test_a_real_flow_run_completes_as_a_job(prefect3, cluster, engine, tmp_path):
    image = images.prefect(engine, 3)
    code = tmp_path / "code"
    code.mkdir()
    (code / "hello.py").write_text(FLOW)
    mount = {"name": "code", "mountPath": "/flows"}
    data = {
        "type": "kubernetes-job",
        "cluster_config": {"config": cluster.config(), "context_name": "test"},
        "image": image,
        "customizations": [
            {"op": "add", "path": f"{POD}/hostNetwork", "value": True},
            {
                "op": "add",
                "path": f"{POD}/volumes",
                "value": [{"name": "code", "hostPath": {"path": str(code)}}],
            },
            {"op": "add", "path": f"{POD}/containers/0/volumeMounts", "value": [mount]},
        ],
        "pod_watch_timeout_seconds": 240,
        "finished_job_ttl": 0,
    }
    with prefect3.client() as client:
        ensure_pool(client)
        deployment = seed.deployment(
            client,
            "nightly",
            work_pool_name="default-agent-pool",
            infrastructure_document_id=infrastructure_block(client, "kubernetes-job", "k", data),
            path="/flows",
            entrypoint="hello.py:hello",
            enforce_parameter_schema=False,
        )
        run = seed.flow_run(client, deployment["id"], parameters={"name": "bob"})["id"]
        with AgentProcess(prefect3, tmp_path) as agent:
            state = seed.wait_for_state(client, run, seconds=240)["state"]
            assert state["type"] == "COMPLETED", "\n".join(agent.events)
            jobs = "/apis/batch/v1/namespaces/default/jobs"
            seed.wait_until(lambda: not cluster.items(jobs), seconds=60)
            assert any("hello bob" in line for line in agent.events), "its output is streamed"


def test_a_cluster_takes_what_deploy_has_for_it(cluster):
    folder = ROOT / "deploy" / "kubernetes"
    built = yaml.safe_load((folder / "kustomization.yaml").read_text())
    found = [
        document
        for name in built["resources"]
        for document in yaml.safe_load_all((folder / name).read_text())
    ]
    paths = {
        "Namespace": "/api/v1/namespaces",
        "ServiceAccount": "/api/v1/namespaces/reconciler/serviceaccounts",
        "Service": "/api/v1/namespaces/reconciler/services",
        "Deployment": "/apis/apps/v1/namespaces/reconciler/deployments",
    }
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    paths |= {
        "Role": f"{rbac}/namespaces/reconciler/roles",
        "RoleBinding": f"{rbac}/namespaces/reconciler/rolebindings",
        "ClusterRole": f"{rbac}/clusterroles",
        "ClusterRoleBinding": f"{rbac}/clusterrolebindings",
    }
    for document in found:
        if document["kind"].startswith("Cluster"):  # another test made those of that name
            document["metadata"]["name"] += "-as-deployed"
    space = found[0]
    assert space["metadata"]["name"] == built["namespace"]
    cluster.ask("POST", paths["Namespace"], space)
    try:
        for document in found[1:]:
            made = cluster.ask("POST", paths[document["kind"]] + "?dryRun=All", document)
            assert made["kind"] == document["kind"]
            if document["kind"] == "Deployment":
                # A field that the API doesn't know is dropped without a word.
                written = document["spec"]["template"]["spec"]
                assert written["securityContext"].items() <= (
                    made["spec"]["template"]["spec"]["securityContext"].items()
                )
                kept = made["spec"]["template"]["spec"]["containers"][0]
                assert written["containers"][0].keys() <= kept.keys()
        documented = (ROOT / "docs/infrastructure/kubernetes-job.md").read_text()
        [role] = [one for one in found if one["kind"] == "Role"]
        own = yaml.safe_load(documented.split("```yaml")[1].split("---")[0])
        assert role["rules"] == own["rules"]
    finally:
        cluster.ask("DELETE", f"{paths['Namespace']}/reconciler")
