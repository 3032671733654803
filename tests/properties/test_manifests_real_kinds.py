"""Whatever stands in a document: the real kinds name problems, and none of them shows a secret."""

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.blocks.registry import BLOCK_TYPES
from reconciler.errors import InvalidManifests
from reconciler.kinds import KINDS
from reconciler.manifests.load import LoadOptions, load
from tests.fakes.trees import tree

CANARY = "canary-7f31"
POLICY = "name: x\nvars: {l: [1]}\nsecrets: [{env: S_}]\n"
WORDS = [
    "name",
    "flow_name",
    "block_type_slug",
    "data",
    "kind",
    "entrypoint",
    "path",
    "storage",
    "infrastructure",
    "schedules",
    "schedule",
    "tags",
    "paused",
    "parameters",
    "pull_steps",
    "job_variables",
    "infra_overrides",
    "work_queue_name",
    "work_pool_name",
    "labels",
    "version",
    "enforce_parameter_schema",
    "concurrency_limit",
    "concurrency_options",
    "description",
    "parameter_openapi_schema",
    "reconcile",
    "cron",
    "interval",
    "rrule",
    "timezone",
    "anchor_date",
    "active",
    "slug",
    "type",
    "env",
    "$ref",
    "prune",
    "drift",
    "ignore",
    "day_or",
    "catchup",
    "work_pool",
    "pull",
    *("triggers", "posture", "expect", "within", "require", "job_variables", "schedule_after"),
    "manifest_path",
    "timestamp",
]
TEXTS = [
    *("", "process", "docker-container", "kubernetes-job", "ecs-task", "docker-container/x"),
    *("${{ secrets.s }}", "x${{ secrets.s }}", "${{ vars.l }}", "* * * * *", "@daily", "PT1H"),
    *("P99999999999Y", "FREQ=DAILY", "FREQ=DAILY;COUNT=3", "Europe/London", "../etc", "********"),
    *("9999-12-31T23:59:59+14:00", "x.py:f", "a/b/c", "é" * 300, '{"a": 1}', "[1"),
]
words = st.sampled_from(WORDS)
texts = st.sampled_from(TEXTS)
leaves = texts | st.none() | st.booleans() | st.integers(-2, 2**62) | st.floats(-1e9, 1e9)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | texts, inner, max_size=4),
    max_leaves=12,
)
block_fields = st.sampled_from(sorted({f for model in BLOCK_TYPES for f in model.model_fields}))
blocks = st.fixed_dictionaries(
    {
        "kind": st.just("Block"),
        "block_type_slug": texts,
        "name": st.just("local") | texts,
        "data": st.dictionaries(block_fields, trees, max_size=5) | trees,
    },
    optional={"reconcile": trees},
)
fields = st.dictionaries(words, trees, max_size=6)
named = {"flow_name": "f", "name": "n"}
deployments = fields.map(lambda some: {**named, **some, "kind": "Deployment"})
built = fields.map(lambda some: {**named, "manifest_path": None, "timestamp": "x", **some})
projects = fields.map(lambda some: {"prefect-version": "3.8.8", "deployments": [{**named, **some}]})


automations = fields.map(
    lambda some: {"name": "n", "trigger": {}, "actions": [some], **some, "kind": "Automation"}
)

schemas = st.dictionaries(
    st.sampled_from(["properties", "required", "definitions", "secret_fields", "title"]), trees
)
types = schemas.map(
    lambda some: {"kind": "BlockType", "slug": "s", "name": "S", "block_schema": some}
)


@settings(max_examples=100)
@given(document=blocks | deployments | built | projects | automations | types)
def test_no_document_breaks_a_kind_and_no_problem_shows_a_secret(document):
    text = yaml.safe_dump(document, allow_unicode=True)
    problems = problems_of(tree({"reconciler.yaml": POLICY, "a.yaml": text}))
    assert CANARY not in " ".join(map(str, problems))
    assert all(problem.hint for problem in problems)


def problems_of(snapshot):
    options = LoadOptions(secret_env={"S_s": CANARY}, offline=True)
    try:
        state = load(snapshot, options, KINDS)
    except InvalidManifests as error:
        return error.problems
    assert CANARY not in repr(state)
    return state.warnings
