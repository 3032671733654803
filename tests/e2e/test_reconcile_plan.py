"""Plan, apply, plan: the last one is empty, and a change costs what it must and no more."""

from tests.e2e.site import HOURLY, actions, change, deployment, process
from tests.testbed import seed


def shop(site):
    """A block that another one refers to, one that a deployment runs on, and two deployments."""
    site.write(
        "blocks.yaml",
        process(env={"A": "1"}),
        {
            "kind": "Block",
            "block_type_slug": "docker-registry",
            "name": "private",
            "data": {"username": "bob", "password": "pw", "registry_url": "r.test"},
        },
        {
            "kind": "Block",
            "block_type_slug": "docker-container",
            "name": "box",
            "data": {"image": "a:1", "image_registry": {"$ref": "docker-registry/private"}},
        },
    )
    site.write("nightly.yaml", deployment(schedules=[HOURLY], tags=["a"]))
    site.write("hourly.yaml", deployment("hourly", schedules=[HOURLY]))


KEYS = [
    "block/docker-container/box",
    "block/docker-registry/private",
    "block/process/etl",
    "deployment/etl/hourly",
    "deployment/etl/nightly",
]


def test_plan_apply_plan_the_last_one_is_empty_and_writes_nothing(site):
    shop(site)
    assert actions(site.plan()) == dict.fromkeys(KEYS, "create")
    assert site.proxy.writes == []

    report = site.apply()
    assert report["converged"]
    assert {c["key"]: c["outcome"] for c in report["changes"]} == dict.fromkeys(KEYS, "done")
    assert site.owned() == KEYS
    assert site.deployment("nightly")["tags"] == ["a"]

    before = site.objects(), site.records()
    site.settled()
    assert site.apply("--detailed-exitcode")["converged"]
    assert site.proxy.writes == []
    assert (site.objects(), site.records()) == before


def test_changing_one_field_issues_one_write_and_disturbs_nobody_else(site):
    shop(site)
    site.apply()
    untouched, touched = site.runs("hourly"), site.runs("nightly")
    assert untouched
    assert touched
    before = site.objects()
    id_ = site.deployment("nightly")["id"]

    site.write("nightly.yaml", deployment(schedules=[HOURLY], tags=["a"], description="new"))
    plan = site.plan("--detailed-exitcode", code=2)
    assert actions(plan) == {"deployment/etl/nightly": "update"}
    (field,) = change(plan, "deployment/etl/nightly")["fields"]
    assert (field["path"], field["after"], field["cause"]) == ("description", "new", "git")
    assert field["source"].startswith("nightly.yaml:")

    assert site.apply()["converged"]
    # The runs that a write deletes are asked for again: no field, but a request.
    assert site.written == [f"PATCH /deployments/{id_}", f"POST /deployments/{id_}/schedule"]
    assert site.runs("hourly") == untouched
    assert len(site.runs("nightly")) == len(touched)
    after = site.objects()
    assert {key for key in after if after[key] != before[key]} == {id_}

    site.write("blocks.yaml", process(env={"A": "2"}), *_blocks_after_the_first(site))
    assert actions(site.apply()) == {"block/process/etl": "update"}
    assert site.written == [f"PATCH /block_documents/{site.block('process', 'etl')['id']}"]
    assert site.block("process", "etl")["data"]["env"] == {"A": "2"}
    assert site.runs("hourly") == untouched


def _blocks_after_the_first(site):
    return (site.tree / "blocks.yaml").read_text().split("---\n")[1:]


def test_repo_on_a_git_server_gives_the_same_plan_as_the_directory(site, git_server):
    shop(site)
    url = git_server()
    directory = site.plan()
    assert directory["summary"]["create"] == len(KEYS)
    site.proxy.forget()
    done = site.cli("plan", "--repo", url, "--format", "json")
    assert (done.code, done.json()) == (0, directory)

    # The one applies what the other then finds in step.
    applied = site.cli("apply", "--yes", "--repo", url, "--ref", "main", "--format", "json")
    assert applied.json()["converged"]
    site.settled()


def test_a_saved_plan_is_bound_to_manifests_and_live_objects(site, tmp_path):
    shop(site)
    site.apply()
    site.write("nightly.yaml", deployment(schedules=[HOURLY], tags=["b"]))
    saved = tmp_path / "plan.json"
    site.plan("--out", str(saved))

    def apply_saved():
        site.proxy.forget()
        return site.cli("apply", "--plan", saved)

    # Another manifest changed since.
    hourly = (site.tree / "hourly.yaml").read_text()
    site.write("hourly.yaml", deployment("hourly", schedules=[HOURLY], description="late"))
    refused = apply_saved()
    assert (refused.code, site.proxy.writes) == (1, [])
    assert "have changed since the plan was made" in refused.stderr
    assert "make a new plan" in refused.stderr
    site.write("hourly.yaml", hourly)

    # The live object changed since.
    site.patch_deployment("nightly", tags=["c"])
    refused = apply_saved()
    assert (refused.code, site.proxy.writes) == (1, [])
    assert site.deployment("nightly")["tags"] == ["c"]
    site.patch_deployment("nightly", tags=["a"])

    assert apply_saved().code == 0
    assert site.deployment("nightly")["tags"] == ["b"]
    site.settled()
    # Once applied it is stale too.
    assert apply_saved().code == 1


def test_a_saved_plan_is_accepted_after_a_squash_merge_of_the_same_content(
    site, repository, tmp_path
):
    shop(site)
    repository.commit("first")
    site.apply()
    repository.git("checkout", "-q", "-b", "feature")
    site.write("nightly.yaml", deployment(schedules=[HOURLY], tags=["x"]))
    repository.commit("one")
    site.write("nightly.yaml", deployment(schedules=[HOURLY], tags=["b"]))
    branch = repository.commit("two")
    saved = tmp_path / "plan.json"
    assert site.plan("--out", str(saved))["revision"] == branch

    repository.git("checkout", "-q", "main")
    repository.git("merge", "--squash", "-q", "feature")
    assert repository.commit("squashed") != branch
    applied = site.cli("apply", "--plan", saved, "--format", "json")
    assert (applied.code, applied.json()["converged"]) == (0, True)
    assert site.deployment("nightly")["tags"] == ["b"]


def test_the_plan_of_a_fresh_server_survives_to_its_apply(site, tmp_path):
    """Without an inventory there is no lasting key yet, so values as shown stand for prints."""
    shop(site)
    saved = tmp_path / "plan.json"
    site.plan("--out", str(saved))
    with site.server.client() as client:
        seed.block(client, "secret", "unrelated", {"value": "x"})
    assert site.cli("apply", "--plan", saved).code == 0
    site.settled()
