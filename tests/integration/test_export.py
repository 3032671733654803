"""Export: applied to its own server it changes nothing; applied to another it makes the same."""

import pytest
import yaml

from reconciler.cli.exportwork import write
from reconciler.controller.export import Choice, export
from reconciler.model.plan import Action
from tests.integration.reconciling import repository
from tests.testbed import seed

pytestmark = [pytest.mark.anyio, pytest.mark.prefect]

SECRET = "canary-exported-secret"
POLICY = "name: moved\nsecrets: [{env: RECONCILER_SECRET_}]\nprune: {enabled: false}\n"


def block(client, slug, name, data, *, anonymous=False):
    """Make a block document as Prefect's own client does."""
    type_ = seed.request(client, "GET", f"/block_types/slug/{slug}")
    wanted = {"block_schemas": {"block_type_id": {"any_": [type_["id"]]}}}
    [schema, *_] = seed.request(client, "POST", "/block_schemas/filter", wanted)
    body = {
        "data": data,
        "block_type_id": type_["id"],
        "block_schema_id": schema["id"],
        "is_anonymous": anonymous,
        **({} if anonymous else {"name": name}),
    }
    return seed.request(client, "POST", "/block_documents/", body)["id"]


async def fill(repo, server, client):
    """Make a workspace: by way of manifests, so that types are registered on 3.x, and by hand."""
    documents = [
        {
            "kind": "Block",
            "block_type_slug": "docker-registry",
            "name": "private",
            "data": {
                "username": "u",
                "password": "${{ secrets.PASSWORD }}",
                "registry_url": "https://registry.test",
            },
        },
        {
            "kind": "Block",
            "block_type_slug": "docker-container",
            "name": "etl",
            "data": {
                "image": "flows:1",
                "env": {
                    "A": "1",
                    "MULTI": "one\ntwo\n",
                    "ODD": "$${{ not ours }}",
                    "TOKEN": "${{ secrets.PASSWORD }}",
                },
                "image_registry": {"$ref": "docker-registry/private"},
            },
        },
        {"kind": "WorkPool", "name": "batch", "type": "prefect-agent", "concurrency_limit": 3},
        {"kind": "WorkQueue", "work_pool_name": "batch", "name": "night", "priority": 2},
        {"kind": "Variable", "name": "region", "value": "eu", "tags": ["a"]},
        {"kind": "ConcurrencyLimit", "name": "db", "limit": 2, "slot_decay_per_second": 0.5},
        {"kind": "ConcurrencyLimit", "tag": "slow", "limit": 4},
        {
            "kind": "Deployment",
            "flow_name": "etl",
            "name": "nightly",
            "entrypoint": "flows/etl.py:etl",
            "path": "/srv/flows",
            "description": "Moves things.\nEvery night.",
            "infrastructure": "docker-container/etl",
            "infra_overrides": {"env.LOG": "DEBUG"},
            "parameters": {"limit": 10, "names": ["a", None], "token": "${{ secrets.PASSWORD }}"},
            "tags": ["b", "a"],
            "work_pool_name": "batch",
            "work_queue_name": "night",
            "schedules": [
                {"cron": "0 3 * * *", "timezone": "Europe/London", "active": False},
                {"interval": 90, "anchor_date": "2026-01-01T00:00:00Z"},
                {"rrule": "DTSTART:20260101T000000\nFREQ=DAILY"},
            ],
        },
        {
            "kind": "Deployment",
            "flow_name": "etl",
            "name": "inline",
            "entrypoint": "flows/etl.py:etl",
            "infrastructure": {
                "type": "process",
                "env": {"B": "2", "KEY": "${{ secrets.PASSWORD }}"},
            },
            "paused": True,
        },
    ]
    repo.secrets = {"RECONCILER_SECRET_PASSWORD": SECRET}
    repo.write("reconciler.yaml", "name: first\nsecrets: [{env: RECONCILER_SECRET_}]\n")
    repo.write("all.yaml", yaml.safe_dump_all(documents))
    assert (await repo.apply()).converged
    anonymous = block(client, "process", "", {"env": {"C": "${{ x }}"}}, anonymous=True)
    seed.deployment(
        client,
        "by-hand",
        infrastructure_document_id=anonymous,
        entrypoint="f.py:f",
        tags=["hand"],
        parameters={"text": "{{ prefect }} and ${{ vars.none }}"},
        enforce_parameter_schema=False,
    )
    block(client, "secret", "token", {"value": SECRET})


@pytest.fixture
def client(server):
    with server.client() as made:
        yield made


def put(tree, folder, secrets):
    write(tree, folder, force=False)
    (folder / "reconciler.yaml").write_text(POLICY)
    return {f"RECONCILER_SECRET_{name}": SECRET for name in secrets}


async def test_an_export_applied_to_its_own_server_changes_nothing(server, client, tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "out").mkdir()
    async with repository(server, tmp_path / "first") as repo:
        await fill(repo, server, client)
        tree = await export(repo.desk(), Choice())
        [note] = tree.notes
        assert note.startswith("deployment/etl/by-hand: its infrastructure is a block without a")
        assert set(tree.secrets) == {
            "DOCKER_REGISTRY_PRIVATE_PASSWORD",
            "SECRET_TOKEN_VALUE",
            # What the API shows, though it came from a secret.
            "DOCKER_CONTAINER_ETL_ENV_TOKEN",
            "ETL_INLINE_INFRASTRUCTURE_ENV_KEY",
            "ETL_NIGHTLY_PARAMETERS_TOKEN",
        }
        assert SECRET not in "".join(tree.files.values())
        again = await export(repo.desk(), Choice())
        assert again.files == tree.files
    _forget_all(client)
    async with repository(server, tmp_path / "out") as repo:
        repo.secrets = put(tree, tmp_path / "out", tree.secrets)
        plan = await repo.plan()
        different = [c for c in plan.changes if c.action is not Action.ADOPT]
        # Only what had no name gets one, and its deployment refers to it then.
        assert [(c.key.kind, c.action) for c in different] == [
            ("block", Action.CREATE),
            ("deployment", Action.BLOCKED),
        ]
        assert [f.path for f in different[1].fields] == ["infrastructure"]
        assert (await repo.apply(adopt=("deployment/etl/by-hand",))).converged
        assert (await repo.plan()).empty


async def test_an_export_of_2_20_makes_the_same_workspace_on_3(prefect2, prefect3, tmp_path):
    for name in ("first", "out"):
        (tmp_path / name).mkdir()
    with prefect2.client() as client:
        async with repository(prefect2, tmp_path / "first") as repo:
            await fill(repo, prefect2, client)
            old = await export(repo.desk(), Choice())
    async with repository(prefect3, tmp_path / "out") as repo:
        repo.secrets = put(old, tmp_path / "out", old.secrets)
        assert (await repo.apply()).converged
        assert (await repo.plan()).empty
        new = await export(repo.desk(), Choice())
    assert {k: yaml.safe_load(v) for k, v in new.files.items()} == {
        k: _on_3(yaml.safe_load(v)) for k, v in old.files.items()
    }
    assert set(new.secrets) == set(old.secrets)


def _on_3(document):
    # 3.x checks parameters by default, so what 2.20 checks needs no word there.
    if document.get("enforce_parameter_schema"):
        return {k: v for k, v in document.items() if k != "enforce_parameter_schema"}
    return document


async def test_kinds_and_keys_choose_what_is_exported(server, client, tmp_path):
    (tmp_path / "first").mkdir()
    async with repository(server, tmp_path / "first") as repo:
        await fill(repo, server, client)
        tree = await export(repo.desk(), Choice(kinds=("deployment",)))
        assert {key.kind for key in tree.keys} == {"deployment"}
        # References go by name, though what they lead to is not exported.
        nightly = yaml.safe_load(tree.files["deployments/etl/nightly.yaml"])
        assert nightly["infrastructure"] == "docker-container/etl"
        tree = await export(repo.desk(), Choice(keys=("*/etl", "variable/*")))
        assert [str(key) for key in tree.keys] == [
            "block/docker-container/etl",
            "flow/etl",
            "variable/region",
        ]


def _forget_all(client):
    for one in seed.listing(client, "block_documents"):
        if one["block_type"]["slug"] == "reconciler-inventory":
            seed.request(client, "DELETE", f"/block_documents/{one['id']}")
