"""Prefect's own files: what we apply is what Prefect's own command makes of them, field by field."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from reconciler.api.connect import connect
from reconciler.errors import InvalidManifests
from reconciler.model.plan import Action
from reconciler.runtime.clock import SystemClock
from reconciler.settings import ConnectionSettings
from tests.integration.reconciling import Repository
from tests.testbed import seed
from tests.testbed.environments import environment
from tests.testbed.warm import run_prefect

pytestmark = [pytest.mark.anyio, pytest.mark.prefect, pytest.mark.timeout(600)]

FLOW = '''
from prefect import flow

@flow(name="hello flow")
def hello(name: str = "world", times: int = 1):
    """Says hello."""
'''
# Of one server, of one moment, or of the one who wrote it.
_ITS_OWN = {
    *("id", "created", "updated", "created_by", "updated_by", "flow_id", "status", "last_polled"),
    *("work_queue_id", "infrastructure_document_id", "storage_document_id", "schedule"),
    *("global_concurrency_limit", "labels", "version_id", "version_info", "is_schedule_active"),
}


def prefect(server, folder, *arguments, python=None, package="", events=False):
    """Run Prefect's own command, of the server's version or of another environment.

    `package` is imported first: `deployment apply` finds no class of a block that it must make.
    `events` makes 2.20 see triggers; elsewhere its worker of events fails now and then.
    """
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "RECONCILER_"))},
        **server.client_env,
        "HOME": str(folder),
        "PREFECT_HOME": str(folder / ".prefect"),
        "NO_COLOR": "1",
        "PREFECT_EXTRA_ENTRYPOINTS": package,
        "PREFECT_EXPERIMENTAL_EVENTS": str(events).lower(),
    }
    done = run_prefect(python or server.python, ["--no-prompt", *arguments], env, folder)
    # Prefect 3.8.8's `deploy` fails at the very end, as it looks for workers (fastapi, tried).
    worked = done.code == 0 or "successfully created with id" in " ".join(done.stdout.split())
    assert worked, done.stdout + done.stderr
    return done.stdout


def made(server):
    """Return every deployment as the API has it, what they refer to by its data."""
    with server.client() as client:
        blocks = {
            one["id"]: one
            for one in seed.listing(
                client, "block_documents", block_documents={"is_anonymous": None}
            )
        }
        found = {}
        for one in seed.listing(client, "deployments"):
            plain = {k: v for k, v in one.items() if k not in _ITS_OWN}
            plain["schedules"] = sorted(map(_schedule, one["schedules"]))
            for name in ("infrastructure", "storage"):
                block = blocks.get(one[f"{name}_document_id"])
                plain[name] = block and (block["block_type"]["slug"], _whole(block))
            plain["parameter_openapi_schema"] = _schema(one["parameter_openapi_schema"])
            found[one["name"]] = plain
        return found


def _schedule(item):
    timing = {k: v for k, v in item["schedule"].items() if v is not None}
    timing.setdefault("timezone", "UTC")
    timing.pop("anchor_date", None)
    return str([sorted(timing.items()), item["active"], item.get("slug")])


def _whole(block):
    """An absent key means the default that the schema says."""
    properties = block["block_schema"]["fields"]["properties"]
    defaults = {name: one["default"] for name, one in properties.items() if "default" in one}
    return _data({**defaults, **block["data"]})


def _data(data):
    """An absent key and null are one; so are Prefect's defaults, which it writes out."""
    defaults = ({}, [], None, False, "process", True, "docker-container")
    inner = {k: _data(v) if isinstance(v, dict) else v for k, v in data.items()}
    return {k: v for k, v in inner.items() if v not in defaults and k != "block_type_slug"}


def _schema(schema):
    # `prefect deployment build` writes `required: null` and `definitions: null`.
    return {k: v for k, v in (schema or {}).items() if v}


async def ours(server, folder):
    settings = ConnectionSettings(RECONCILER_API_URL=server.url)
    async with connect(settings, SystemClock()) as api:
        repo = Repository(folder, api)
        report = await repo.apply()
        assert report.converged, [(str(o.change.key), o.error) for o in report.outcomes]
        assert (await repo.plan()).empty
        return report


BUILDS = {
    "plain": (),
    "process": ("-i", "process", "--override", "env.A=1"),
    "docker": ("-i", "docker-container", "--override", "image=flows:1"),
    "kubernetes": ("-i", "kubernetes-job", "--override", "namespace=flows"),
    "described": ("-d", "Says *hello*.", "--no-schedule"),
    "anchored": ("--interval", "60", "--anchor-date", "2026-01-01T00:00:00+00:00"),
    "cron": ("--cron", "0 3 * * *", "--timezone", "Europe/London", "-t", "a", "-t", "b"),
    "interval": ("--interval", "90", "--version", "v7"),
    "rrule": ("--rrule", "FREQ=DAILY", "--param", "times=3"),
    "queue": ("-q", "fast", "--params", '{"name": "you", "times": 2}'),
    "path": ("--path", "/opt/flows"),
    "saved": ("-ib", "process/saved", "-sb", "local-file-system/saved"),
}


def saved_blocks(server):
    with server.client() as client:
        seed.block(client, "process", "saved", {"env": {"S": "1"}})
        seed.block(client, "local-file-system", "saved", {"basepath": "/srv"})


async def test_files_of_prefect_deployment_build_give_what_prefect_gives(prefect2, tmp_path):
    (tmp_path / "flow.py").write_text(FLOW)
    saved_blocks(prefect2)
    for name, options in BUILDS.items():
        file = f"{name}-deployment.yaml"
        prefect(
            prefect2,
            tmp_path,
            *("deployment", "build", "flow.py:hello", "-n", name, "-o", file, "--skip-upload"),
            *options,
        )
    for name in BUILDS:
        prefect(prefect2, tmp_path, "deployment", "apply", f"{name}-deployment.yaml")
    theirs = made(prefect2)
    assert set(theirs) == set(BUILDS)
    prefect2.reset()
    saved_blocks(prefect2)
    report = await ours(prefect2, tmp_path)
    assert {one.change.action for one in report.outcomes} == {Action.CREATE}
    found = made(prefect2)
    for name, wanted in theirs.items():
        assert found[name] == {**wanted, **_known_differences(wanted)}, name


SAVED = {
    "ecs-task": {"image": "flows:1", "cpu": 512, "launch_type": "EC2"},
    "cloud-run-job": {
        "image": "eu/p/flows:1",
        "region": "eu",
        "credentials": {"project": "p", "service_account_file": "KEY"},
    },
    "azure-container-instance-job": {
        "resource_group_name": "g",
        "subscription_id": "s",
        "aci_credentials": {"credential_kwargs": {}},
    },
    "kubernetes-job": {"image": "flows:1", "namespace": "flows"},
    "docker-container": {"image": "flows:1", "networks": ["a"]},
}
"""Data of saved blocks; Cloud Run and Azure need values that `build -i` cannot give."""
PACKAGES = {
    "ecs-task": "prefect_aws.ecs",
    "cloud-run-job": "prefect_gcp.cloud_run",
    "azure-container-instance-job": "prefect_azure.container_instance",
}


@pytest.mark.timeout(900)
async def test_files_of_the_types_that_packages_bring_give_what_prefect_gives(prefect2, tmp_path):
    (tmp_path / "flow.py").write_text(FLOW)
    python = environment("prefect2-collections")
    # Google's package opens the key as soon as the block is loaded.
    (tmp_path / "key.json").write_text(json.dumps(_service_account()))

    def save():
        with prefect2.client() as client:
            for slug, data in SAVED.items():
                text = json.dumps(data).replace("KEY", str(tmp_path / "key.json"))
                seed.block(client, slug, "saved", json.loads(text))

    save()
    builds = {"inline-ecs-task": ("-i", "ecs-task", "--override", "cpu=256")}
    builds |= {slug: ("-ib", f"{slug}/saved") for slug in SAVED}
    for name, options in builds.items():
        file = f"{name}-deployment.yaml"
        where = {"python": python, "package": PACKAGES.get(name.removeprefix("inline-"), "")}
        build = ("deployment", "build", "flow.py:hello", "-n", name, "-o", file, "--skip-upload")
        prefect(prefect2, tmp_path, *build, *options, **where)
        prefect(prefect2, tmp_path, "deployment", "apply", file, **where)
    theirs = made(prefect2)
    assert set(theirs) == set(builds)
    prefect2.reset()
    save()
    await ours(prefect2, tmp_path)
    found = made(prefect2)
    for name, wanted in theirs.items():
        assert found[name] == {**wanted, **_known_differences(wanted)}, name


def _service_account():
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "type": "service_account",
        "project_id": "p",
        "private_key": key.decode(),
        "client_email": "agent@p.iam.gserviceaccount.com",
        "token_uri": "http://127.0.0.1:1/token",
    }


def _known_differences(theirs):
    """What we do otherwise on purpose: a deployment without a queue would never run (DESIGN 5)."""
    changed = {}
    if theirs["work_pool_name"] is None:
        changed["work_pool_name"] = "default-agent-pool"
    if theirs["work_queue_name"] is None:
        changed["work_queue_name"] = "default"
    return changed


PROJECT = {
    "name": "shop",
    "pull": [{"prefect.deployments.steps.set_working_directory": {"directory": "/srv/flows"}}],
    "deployments": [
        {
            "name": "full",
            "entrypoint": "flow.py:hello",
            "flow_name": "hello flow",
            "description": "All of it.",
            "version": "v2",
            "tags": ["a", "b"],
            "parameters": {"name": "you"},
            "work_pool": {
                "name": "local",
                "work_queue_name": "default",
                "job_variables": {"env": {"A": "1"}},
            },
            "schedules": [
                {"cron": "0 3 * * *", "timezone": "Europe/London", "active": False},
                {"interval": 600},
            ],
        },
        {
            "name": "bare",
            "entrypoint": "flow.py:hello",
            "flow_name": "hello flow",
            "work_pool": {"name": "local"},
        },
    ],
}


async def test_a_prefect_yaml_gives_what_prefect_deploy_gives(server, tmp_path):
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(PROJECT))

    _pool(server)
    for one in PROJECT["deployments"]:
        prefect(server, tmp_path, "deploy", "-n", one["name"])
    theirs = made(server)
    assert set(theirs) == {"full", "bare"}
    server.reset()
    _pool(server)
    await ours(server, tmp_path)
    _same_as_deployed(made(server), theirs)


# Prefect runs the code and takes these from it; a manifest says them itself, or goes without.
_TAKEN_FROM_CODE = {"description", "parameter_openapi_schema", "version", "path", "work_queue_name"}


def _plainly(data):
    """Leave out what says nothing, and what Prefect adds about a block."""
    return {k: v for k, v in _data(data).items() if not k.startswith("_") and k != "type"}


def _same_as_deployed(found, theirs):
    for name, wanted in theirs.items():
        different = {
            k: (v, found[name].get(k)) for k, v in wanted.items() if found[name].get(k) != v
        }
        assert set(different) <= _TAKEN_FROM_CODE, (name, different)


FILES = Path(__file__).with_name("prefect_files")


@pytest.mark.parametrize("name", ["process", "docker-container"])
async def test_a_file_that_a_team_has_gives_what_prefect_gives(prefect2, tmp_path, name):
    file = f"{name}-deployment.yaml"
    shutil.copy(FILES / file, tmp_path)
    prefect(prefect2, tmp_path, "deployment", "apply", file)
    [wanted] = made(prefect2).values()
    prefect2.reset()
    await ours(prefect2, tmp_path)
    [found] = made(prefect2).values()
    assert found == {**wanted, **_known_differences(wanted)}


@pytest.mark.parametrize("name", ["process", "docker-container", "ecs-task"])
async def test_a_file_that_a_team_has_keeps_every_field(server, tmp_path, name):
    file = f"{name}-deployment.yaml"
    shutil.copy(FILES / file, tmp_path)
    wanted = yaml.safe_load((FILES / file).read_text())
    await ours(server, tmp_path)
    [found] = made(server).values()
    same = ("description", "version", "parameters", "path", "entrypoint", "work_queue_name")
    assert {k: found[k] for k in same} == {k: wanted[k] for k in same}
    assert sorted(found["tags"]) == sorted(wanted["tags"])
    variables = found.get("infra_overrides") or found.get("job_variables") or {}
    assert variables == wanted["infra_overrides"]
    slug, data = found["infrastructure"]
    assert slug == wanted["infrastructure"]["_block_type_slug"] == name
    assert _plainly(data) == _plainly(wanted["infrastructure"])
    assert found["parameter_openapi_schema"] == _schema(wanted["parameter_openapi_schema"])
    [schedule] = wanted["schedules"] or [None]
    assert found["schedules"] == ([] if schedule is None else [_schedule(schedule)])


@pytest.mark.parametrize("name", ["2.20-init-local", "2.20-template", "3.8-init-local"])
async def test_a_fresh_prefect_yaml_declares_nothing_yet(server, tmp_path, name):
    shutil.copy(FILES / f"{name}.yaml", tmp_path / "prefect.yaml")
    report = await ours(server, tmp_path)
    assert report.outcomes == ()
    assert made(server) == {}


RECIPES = ("local", "git", "docker", "s3", "gcs", "azure")
RECIPES += tuple(f"docker-{one}" for one in ("git", "s3", "gcs", "azure"))
FIELDS = {
    "image_name": "registry.test/flows",
    "tag": "1",
    "bucket": "code",
    "container": "code",
    "repository": "https://git.test/flows.git",
    "branch": "main",
}


async def test_what_prefect_init_writes_gives_what_prefect_deploy_gives(server, tmp_path):
    given = [part for key, value in FIELDS.items() for part in ("--field", f"{key}={value}")]
    for recipe in RECIPES:
        folder = tmp_path / recipe
        folder.mkdir()
        (folder / "flow.py").write_text(FLOW)
        prefect(server, folder, "init", "--name", "shop", "--recipe", recipe, *given)
        _fill_in(folder / "prefect.yaml", recipe)
    with_steps = {r for r in RECIPES if "{{" in (tmp_path / r / "prefect.yaml").read_text()}
    assert with_steps == set(RECIPES) - {"local", "git"}
    with pytest.raises(InvalidManifests) as caught:
        await ours(server, tmp_path)
    told = [str(one) for one in caught.value.problems]
    assert all("is what a build or push step would give" in one for one in told), told
    assert {one.partition("/")[0] for one in told} == with_steps

    for recipe in with_steps:
        _without_steps(tmp_path / recipe / "prefect.yaml")
    _pool(server)
    for recipe in RECIPES:
        prefect(server, tmp_path / recipe, "deploy", "-n", recipe)
    theirs = made(server)
    assert set(theirs) == set(RECIPES)
    server.reset()
    _pool(server)
    await ours(server, tmp_path)
    _same_as_deployed(made(server), theirs)


def _pool(server):
    with server.client() as client:
        seed.request(client, "POST", "/work_pools/", {"name": "local", "type": "process"})


def _fill_in(file, name):
    """Do what people do with a fresh file: name the flow, the deployment and the pool."""
    project = yaml.safe_load(file.read_text())
    [deployment] = project["deployments"]
    deployment |= {"name": name, "flow_name": "hello flow", "entrypoint": "flow.py:hello"}
    deployment["work_pool"]["name"] = "local"
    file.write_text(yaml.safe_dump(project, sort_keys=False))


def _without_steps(file):
    """Do what the problems say: write what the steps would give."""
    project = {**yaml.safe_load(file.read_text()), "build": None, "push": None}
    text = yaml.safe_dump(project, sort_keys=False)
    file.write_text(re.sub(r"\{\{.*?\}\}", "given", text))


TRIGGERS = [
    {"expect": ["order.paid"], "match": {"prefect.resource.id": "shop.*"}, "enabled": False},
    {
        "name": "late",
        "description": "Nothing came.",
        "posture": "Proactive",
        "expect": ["order.paid", "order.sent"],
        "after": ["order.made"],
        "for_each": ["prefect.resource.id"],
        "within": 60,
        "threshold": 2,
        "parameters": {"name": "{{ event.resource.id }}"},
        "job_variables": {"env": {"A": "1"}},
    },
    {"name": "both", "type": "compound", "require": "all", "within": 30, "triggers": [{}, {}]},
    {"name": "each", "type": "sequence", "within": 30, "triggers": [{"expect": ["a"]}, {}]},
]


async def test_triggers_give_the_automations_that_prefect_deploy_gives(automating, tmp_path):
    (tmp_path / "flow.py").write_text(FLOW)
    [_, bare] = PROJECT["deployments"]
    project = {**PROJECT, "deployments": [{**bare, "triggers": TRIGGERS}]}
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(project))
    _pool(automating)
    prefect(automating, tmp_path, "deploy", "-n", "bare", events=True)
    theirs = _automations(automating)
    assert set(theirs) == {"bare__automation_1", "late", "both", "each"}
    automating.reset()
    _pool(automating)
    await ours(automating, tmp_path)
    found = _automations(automating)
    if automating.major == 2:  # its `deploy` loses the description; we keep it
        assert theirs["late"]["description"] == ""
        theirs["late"]["description"] = "Nothing came."
    assert found == theirs


def _automations(server):
    with server.client() as client:
        found = seed.request(client, "POST", "/automations/filter", {})
        known = {one["id"]: one["name"] for one in seed.listing(client, "deployments")}
    return {one["name"]: _plain(one, known) for one in found}


def _plain(value, known):
    """Drop what is of one server; name what an id leads to."""
    if isinstance(value, dict):
        apart = {"id", "created", "updated"}
        return {
            k: known.get(v, v) if k == "deployment_id" else _plain(v, known)
            for k, v in value.items()
            if k not in apart
        }
    if isinstance(value, list):
        plain = [_plain(one, known) for one in value]
        return sorted(plain) if all(isinstance(one, str) for one in plain) else plain
    return value
