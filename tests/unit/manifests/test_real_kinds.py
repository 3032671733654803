"""The real kinds, by way of whole trees: the example repository and the bad input of issue 2."""

from pathlib import Path

import jsonschema
import pytest

from reconciler.errors import InvalidManifests
from reconciler.kinds import KINDS
from reconciler.manifests.cache import ReadCache
from reconciler.manifests.load import LoadOptions, load
from reconciler.manifests.marks import Limits, read
from reconciler.manifests.schemas import json_schema
from reconciler.model.keys import Key
from tests.fakes.trees import tree

EXAMPLE = Path(__file__).parents[3] / "examples" / "repo"
BLOCK = "kind: Block\nblock_type_slug: process\nname: local\n"
DEPLOYMENT = "kind: Deployment\nflow_name: etl\nname: nightly\nentrypoint: flows/etl.py:etl\n"


def example():
    files = (path for path in EXAMPLE.rglob("*") if path.is_file())
    return {str(path.relative_to(EXAMPLE)): path.read_bytes() for path in files}


def problems(files):
    with pytest.raises(InvalidManifests) as caught:
        load(tree({"reconciler.yaml": "name: x\n", **files}), LoadOptions(), KINDS)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("environment", [None, "dev", "prod"])
def test_the_example_is_valid_in_every_environment_without_any_secret(environment):
    state = load(tree(example()), LoadOptions(environment=environment, offline=True), KINDS)
    assert state.warnings == ()
    kinds = {key.parts[0] for key in state.declarations if key.kind == "block"}
    assert kinds >= {"process", "docker-container", "kubernetes-job", "ecs-task"}


def test_only_process_deployments_of_the_example_run_and_one_runs_soon():
    state = load(tree(example()), LoadOptions(), KINDS)
    running = {
        str(key): declared.fields
        for key, declared in state.declarations.items()
        if key.kind == "deployment" and not declared.fields.get("paused")
    }
    assert set(running) == {"deployment/countdown/by-hand", "deployment/primes/every-20-seconds"}
    for fields in running.values():
        assert fields["infrastructure"].key == Key.of("block", "process", "local")
        assert fields["path"] == "$STORAGE_BASE_PATH"
        assert (EXAMPLE / str(fields["entrypoint"]).split(":")[0]).is_file()
    (schedule,) = running["deployment/primes/every-20-seconds"]["schedules"]
    assert schedule["interval"] <= 30


@pytest.mark.parametrize("kind", [None, *(kind.name for kind in KINDS), "Policy"])
def test_the_schemas_accept_the_example(kind):
    validator = jsonschema.Draft202012Validator(json_schema(KINDS, kind))
    for path, content in example().items():
        if not path.endswith(".yaml"):
            continue
        for document in read(content, Limits()).documents:
            if kind in (None, document.value.get("kind", "Policy")):
                assert [error.message for error in validator.iter_errors(document.value)] == []


BAD = {
    "unknown key": ({"a.yaml": DEPLOYMENT + "parametres: {}\n"}, "a.yaml:5:1", "parameters"),
    "unknown key of a block": (
        {"a.yaml": BLOCK + "data:\n  stream_outputs: true\n"},
        "a.yaml:5:3",
        "stream_output",
    ),
    "wrong type": ({"a.yaml": DEPLOYMENT + "tags: prod\n"}, "a.yaml:5:1", ""),
    "wrong type in a block": ({"a.yaml": BLOCK + "data: {env: [A]}\n"}, "a.yaml:4:8", ""),
    "a name that Prefect refuses": (
        {"a.yaml": DEPLOYMENT.replace("nightly", "a/b")},
        "a.yaml:3:1",
        "",
    ),
    "a block name that Prefect refuses": (
        {"a.yaml": BLOCK.replace("local", "Not_OK")},
        "a.yaml:3:1",
        "",
    ),
    "a deep reference": (
        {"a.yaml": BLOCK + "data: {env: {A: {$ref: process/x}}}\n"},
        "a.yaml:4:14",
        "",
    ),
    "a bad cron": ({"a.yaml": DEPLOYMENT + "schedules:\n- {cron: x y}\n"}, "a.yaml:6:4", ""),
    "a bad option": (
        {"a.yaml": DEPLOYMENT + "reconcile: {drift: mend}\n"},
        "a.yaml:5:13",
        "heal",
    ),
}


@pytest.mark.parametrize(("files", "place", "hint"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_named_with_its_place_and_a_hint(files, place, hint):
    found = problems(files)
    assert any(text.startswith(f"{place}: ") and hint in text for text in found), found
    assert all("(" in text for text in found), found


def test_two_thousand_deployments_in_files_of_their_own_load_alike_twice():
    documents = [
        DEPLOYMENT.replace("nightly", f"n{n}")
        + "infrastructure: process/local\nparameters: {limit: 10, region: '${{ vars.region }}'}\n"
        + "schedules: [{cron: '0 3 * * *', timezone: Europe/London}]\ntags: [a, b]\n"
        for n in range(2000)
    ]
    files = {f"d{n}.yaml": text for n, text in enumerate(documents)}
    policy = "name: x\nvars: {region: eu}\n"
    snapshot = tree({"reconciler.yaml": policy, "b.yaml": BLOCK, **files})
    options = LoadOptions(cache=ReadCache())
    first = load(snapshot, options, KINDS)
    assert len(first.declarations) == 2001
    assert load(snapshot, options, KINDS).digest == first.digest
