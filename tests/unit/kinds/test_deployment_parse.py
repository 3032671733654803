"""Deployments read from documents: every problem at once, at its place, in every shape."""

import hashlib

import pytest

from reconciler.kinds.deployment import Deployment
from reconciler.model.desired import Document
from reconciler.model.keys import Key
from reconciler.model.places import Place
from reconciler.model.problems import Severity
from reconciler.model.values import Ref, Secret

KIND = Deployment()
TOP = Place("d.yaml", 1, 1)


def places(value, path=()):
    """Give each value a line of its own."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        found += places(inner, (*path, key)) if isinstance(inner, dict | list) else [(*path, key)]
    return found


def document(shape="native", **fields):
    value = {"flow_name": "etl", "name": "nightly", **fields}
    lines = {path: Place("d.yaml", n, 1) for n, path in enumerate(places(value), start=1)}
    return Document(value, TOP, lines, shape)


def parse(shape="native", **fields):
    return KIND.parse(document(shape, **fields))


def declared(shape="native", **fields):
    parsed = parse(shape, **fields)
    assert [p for p in parsed.problems if p.severity is Severity.ERROR] == []
    return parsed.declarations[0].fields


def problems(shape="native", **fields):
    return [(p.message, p.hint) for p in parse(shape, **fields).problems]


def test_only_declared_fields_are_managed_beside_the_queue():
    assert declared(description="x") == {
        "description": "x",
        "work_pool_name": "default-agent-pool",
        "work_queue_name": "default",
    }


def test_a_pool_without_queue_leaves_the_queue_alone():
    fields = declared(work_pool_name="k8s")
    assert fields["work_pool_name"] == "k8s"
    assert "work_queue_name" not in fields


def test_a_null_queue_means_the_default_one():
    fields = declared(work_pool_name=None, work_queue_name=None)
    assert (fields["work_pool_name"], fields["work_queue_name"]) == (
        "default-agent-pool",
        "default",
    )


def test_infra_overrides_are_job_variables_dots_kept():
    assert declared(infra_overrides={"env.A": "b"})["job_variables"] == {"env.A": "b"}


def test_both_names_of_a_field_are_a_problem():
    found = problems(infra_overrides={}, job_variables={})
    assert found == [("job_variables says the same as infra_overrides", "keep one of them")]


def test_blocks_are_references_in_either_spelling():
    fields = declared(infrastructure="container-instance-job/x", storage="s3/dev")
    assert fields["infrastructure"] == Ref(Key.of("block", "azure-container-instance-job", "x"))
    assert fields["storage"] == Ref(Key.of("block", "s3", "dev"))


def test_an_inline_infrastructure_becomes_one_owned_block():
    parsed = parse(infrastructure={"type": "process", "env": {"A": "b"}})
    deployment, block = parsed.declarations
    name = "inline-" + hashlib.sha256(b"deployment/etl/nightly").hexdigest()[:16]
    assert block.key == Key.of("block", "process", name)
    assert block.generated
    assert deployment.fields["infrastructure"] == Ref(block.key)
    assert not deployment.generated


BAD = [
    ({"flow_name": None}, "flow_name is missing"),
    ({"name": ""}, "name is missing"),
    ({"name": 5}, "name must be a text"),
    ({"name": "a/b"}, "takes no / in a name"),
    ({"name": "50%"}, "takes no % in a name"),
    ({"flow_name": "a&b"}, "takes no & in a name"),
    ({"flow_name": ".."}, "takes no .. in a name"),
    ({"name": "a\n+ b: update"}, "name holds a character that can't be seen"),
    ({"name": "\x1b[31mred"}, "name holds a character that can't be seen"),
    ({"flow_name": "a\u202eb"}, "flow_name holds a character that can't be seen"),
    ({"version": 1}, "version must be a text"),
    ({"tags": "prod"}, "tags must be a list of texts"),
    ({"tags": [1]}, "tags must be a list of texts"),
    ({"parameters": [1]}, "parameters must be a mapping"),
    ({"paused": "yes"}, "paused must be true or false"),
    ({"is_schedule_active": "yes"}, "is_schedule_active must be true or false"),
    ({"pull_steps": ["x"]}, "pull_steps must be a list of steps"),
    ({"entrypoint": "etl"}, "not an entrypoint"),
    ({"entrypoint": 5}, "not an entrypoint"),
    ({"entrypoint": "a.py:"}, "not an entrypoint"),
    ({"infrastructure": "etl"}, "infrastructure must name a block"),
    ({"infrastructure": 5}, "infrastructure must name a block"),
    ({"infrastructure": {"env": {}}}, "needs its type"),
    ({"infrastructure": {"type": "process", "envv": {}}}, "envv"),
    ({"storage": {"basepath": "/x"}}, "storage must be a saved block"),
    ({"concurrency_limit": 0}, "concurrency_limit must be a whole number"),
    ({"concurrency_limit": True}, "concurrency_limit must be a whole number"),
    ({"concurrency_limit": {"limit": "x"}}, "concurrency_limit must be a whole number"),
    ({"concurrency_options": {}}, "needs a collision_strategy"),
    ({"concurrency_options": 5}, "concurrency_options must be a mapping"),
    (
        {"concurrency_options": {"collision_strategy": "ENQUEUE", "grace_period_seconds": 5}},
        "from 60 to 86400",
    ),
    ({"concurrency_options": {"collision_strategy": "ENQUEUE", "x": 1}}, "unknown key 'x'"),
    ({"labels": {"a": [1]}}, "labels must map to"),
    ({"labels": 5}, "labels must be a mapping"),
    ({"schedules": [{"cron": "x"}]}, "not a cron expression"),
    ({"version_info": {}}, "can't be declared"),
    ({"global_concurrency_limit_id": "x"}, "can't be declared"),
    ({"work_pool": {"name": "x"}}, "unknown key 'work_pool'"),
]


@pytest.mark.parametrize(("fields", "words"), BAD, ids=str)
def test_what_prefect_would_refuse_is_a_problem_at_its_place(fields, words):
    found = parse(**fields).problems
    assert len(found) == 1
    assert words in found[0].message
    assert found[0].place.line > 1
    assert parse(**fields).declarations == ()


def test_all_problems_are_reported_at_once():
    found = parse(version=1, tagz=[], paused=3, infrastructure={"type": "process", "x": 1})
    assert len(found.problems) == 4


def test_an_unknown_key_gets_the_near_name():
    assert problems(entrypont="f.py:f") == [("unknown key 'entrypont'", "did you mean entrypoint?")]


@pytest.mark.parametrize(
    "entrypoint", ["f.py:f", "a/b c.py:f", "pkg.mod.flow", "pkg.mod:flow", None]
)
def test_entrypoints_are_files_or_modules(entrypoint):
    assert declared(entrypoint=entrypoint)["entrypoint"] == entrypoint


def test_secrets_may_stand_for_texts_and_mappings():
    secret = Secret("x")
    fields = declared(parameters={"a": secret}, description=secret, entrypoint=secret)
    assert fields["parameters"]["a"] is secret


def test_storage_beside_pull_steps_is_a_warning():
    found = parse(storage="s3/dev", pull_steps=[{"a": {}}])
    assert [p.severity for p in found.problems] == [Severity.WARNING]
    assert found.declarations


def test_places_of_fields_go_as_deep_as_mappings():
    value = document(parameters={"a": {"b": 1}}, infra_overrides={"env.A": "x"})
    where = KIND.parse(value).declarations[0].places
    assert where["parameters.a.b"] == value.at("parameters", "a", "b")
    assert where['job_variables["env.A"]'] == value.at("infra_overrides", "env.A")


def test_documents_are_recognised_by_their_shape():
    assert KIND.recognises(document())
    assert KIND.recognises(document("prefect-yaml"))
    assert not KIND.recognises(Document({"name": "x", "data": {}}, TOP))


BUILT = {
    "description": "says hello",
    "version": "v7",
    "work_queue_name": "default",
    "work_pool_name": None,
    "tags": [],
    "parameters": {},
    "schedule": None,
    "schedules": [
        {"schedule": {"cron": "0 5 * * *", "timezone": None, "day_or": True}, "active": True}
    ],
    "is_schedule_active": None,
    "infra_overrides": {"env.FOO": "bar"},
    "infrastructure": {
        "type": "process",
        "env": {},
        "command": None,
        "stream_output": True,
        "block_type_slug": "process",
        "_block_type_slug": "process",
    },
    "manifest_path": None,
    "storage": None,
    "path": "/opt/prefect/flows",
    "entrypoint": "hello.py:hello",
    "parameter_openapi_schema": {"type": "object", "properties": {}, "required": None},
    "timestamp": "2026-11-22T11:01:23.852594+00:00",
    "triggers": [],
    "enforce_parameter_schema": None,
}


def test_what_prefect_deployment_build_writes_is_read_as_it_is():
    parsed = parse("prefect-deployment", **BUILT)
    assert parsed.problems == ()
    deployment, block = parsed.declarations
    assert block.key.parts[0] == "process"
    assert deployment.fields["schedules"][0]["cron"] == "0 5 * * *"
    assert deployment.fields["parameter_openapi_schema"] == {"type": "object", "properties": {}}
    assert "enforce_parameter_schema" not in deployment.fields
    assert "paused" not in deployment.fields


def test_a_saved_block_that_build_wrote_out_is_a_reference():
    saved = {"_block_type_slug": "process", "_block_document_name": "etl", "env": {}}
    fields = declared("prefect-deployment", **{**BUILT, "infrastructure": saved, "storage": saved})
    assert fields["infrastructure"] == fields["storage"] == Ref(Key.of("block", "process", "etl"))


def test_an_anonymous_block_is_inline():
    data = {**BUILT["infrastructure"], "_is_anonymous": True, "_block_document_name": "anonymous-1"}
    parsed = parse("prefect-deployment", **{**BUILT, "infrastructure": data})
    assert parsed.declarations[1].key.name.startswith("inline-")


def test_a_block_inside_an_inline_block_is_read_as_build_writes_it():
    credentials = {"region_name": "eu-west-1", "block_type_slug": "aws-credentials"}
    ecs = {"type": "ecs-task", "aws_credentials": credentials, "_block_type_slug": "ecs-task"}
    parsed = parse("prefect-deployment", **{**BUILT, "infrastructure": ecs})
    assert parsed.problems == ()
    data = parsed.declarations[1].fields["data"]
    assert data["aws_credentials"] == {"region_name": "eu-west-1"}
    saved = {**credentials, "_block_document_name": "prod"}
    parsed = parse(
        "prefect-deployment", **{**BUILT, "infrastructure": {**ecs, "aws_credentials": saved}}
    )
    data = parsed.declarations[1].fields["data"]
    assert data["aws_credentials"] == Ref(Key.of("block", "aws-credentials", "prod"))


def triggered(*triggers, shape="prefect-yaml"):
    parsed = parse(shape, triggers=list(triggers))
    assert parsed.problems == ()
    return parsed.declarations[1:]


def test_a_trigger_is_an_automation_that_runs_the_deployment():
    trigger = {
        "expect": ["order.paid"],
        "match": {"prefect.resource.id": "shop"},
        "description": "Ships.",
        "enabled": False,
        "parameters": {"a": 1},
        "schedule_after": 30,
    }
    [one, two] = triggered(trigger, {"name": "named", "triggers": [{"expect": ["b"]}], "within": 5})
    assert (str(one.key), str(two.key)) == ("automation/nightly__automation_1", "automation/named")
    assert one.generated
    assert one.fields["description"] == "Ships."
    assert one.fields["enabled"] is False
    assert one.fields["trigger"] == {
        "type": "event",
        "posture": "Reactive",
        "expect": ["order.paid"],
        "match": {"prefect.resource.id": "shop"},
    }
    assert one.fields["actions"] == [
        {
            "type": "run-deployment",
            "source": "selected",
            "deployment_id": Ref(Key.of("deployment", "etl", "nightly")),
            "parameters": {"a": 1},
            "schedule_after": 30,
        }
    ]
    assert two.fields["trigger"] == {
        "type": "sequence",
        "within": 5,
        "triggers": [{"type": "event", "posture": "Reactive", "expect": ["b"]}],
    }


@pytest.mark.parametrize("shape", ["native", "prefect-deployment", "prefect-yaml"])
@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ({"expct": ["a"]}, "'expct'"),
        ({"parmeters": {}}, "'parmeters'"),
        ({"require": "some", "triggers": [{}]}, "require"),
        ({"require": 2, "triggers": [{}]}, "from 1 to 1"),
        ({"triggers": [{"job_variables": {}}]}, "'job_variables'"),
        ({"within": "PT1H"}, "number of seconds"),
        ({"type": "metric"}, "one of event, compound, sequence"),
        ({"name": "a/b"}, "slashes"),
        ("a", "mapping"),
    ],
)
def test_typos_in_triggers_that_prefect_swallows_are_problems(shape, trigger, said):
    [problem] = parse(shape, triggers=[trigger]).problems
    assert said in f"{problem.message} {problem.hint}"
    assert problem.severity is Severity.ERROR


def test_an_item_of_prefect_yaml_is_unpacked():
    fields = declared(
        "prefect-yaml",
        work_pool={"name": "k8s", "work_queue_name": "q", "job_variables": {"a": 1}},
        pull=[{"git_clone": {}}],
        schedule={"cron": "@daily"},
        concurrency_limit={"limit": 2, "collision_strategy": "CANCEL_NEW"},
        is_schedule_active=False,
        build=None,
        version_type=None,
    )
    assert fields["work_pool_name"] == "k8s"
    assert fields["job_variables"] == {"a": 1}
    assert fields["pull_steps"] == [{"git_clone": {}}]
    assert fields["schedules"][0]["cron"] == "@daily"
    assert fields["concurrency_limit"] == 2
    assert fields["concurrency_options"] == {"collision_strategy": "CANCEL_NEW"}
    assert fields["paused"] is True


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"work_pool": "k8s"}, "work_pool must be a mapping"),
        ({"work_pool": {"nmae": "x"}}, "unknown key 'nmae'"),
        ({"schedule": {"cron": "x"}}, "not a cron expression"),
        ({"schedule": {"interval": 5}, "schedules": []}, "says the same as"),
    ],
)
def test_problems_of_prefect_yaml_items(fields, words):
    assert words in problems("prefect-yaml", **fields)[0][0]


def test_the_empty_item_of_a_fresh_prefect_yaml_is_passed_over():
    empty = {"flow_name": None, "name": None, "entrypoint": None, "schedule": {}, "tags": []}
    parsed = KIND.parse(Document(empty, TOP, {}, "prefect-yaml"))
    assert [p.severity for p in parsed.problems] == [Severity.WARNING]
    assert parsed.declarations == ()
    nothing = declared("prefect-yaml", schedule={}, work_pool=None)
    assert "schedules" not in nothing


def test_the_schema_knows_every_field():
    from reconciler.model.deployment_fields import FIELDS  # noqa: PLC0415

    properties = KIND.schema()["properties"]
    assert FIELDS.keys() <= properties.keys()
