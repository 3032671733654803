"""Data of shipped types: what is refused, and what becomes one normal form."""

import pytest
from pydantic import ValidationError

from reconciler.blocks.docker import DockerContainerSettings
from reconciler.blocks.process import ProcessSettings
from reconciler.blocks.registry import BLOCK_TYPES, canonical_slug, settings_of
from reconciler.blocks.typed import check, coerce
from reconciler.model.complaints import Complaint
from reconciler.model.fingerprint import Fingerprinter
from reconciler.model.keys import Key
from reconciler.model.values import MASKED, Ref, Secret, UnknownRef
from tests.fakes.block_fields import FIELDS, REQUIRED

PRINTS = Fingerprinter(b"k")


def complaints(slug, **data):
    base = dict(REQUIRED.get(slug, {}))
    if "credentials" in base:
        base["credentials"] = Ref(Key.of("block", "gcp-credentials", "target"))
    return [c.message for c in check(settings_of(slug), {**base, **data})]


def same(one, other):
    return PRINTS.of(one) == PRINTS.of(other)


def test_every_field_of_every_shipped_type_has_a_test_value():
    assert {m.slug: set(m.model_fields) for m in BLOCK_TYPES} == {
        slug: set(fields) for slug, fields in FIELDS.items()
    }


@pytest.mark.parametrize("model", BLOCK_TYPES, ids=lambda m: m.slug)
def test_no_test_value_is_refused_and_none_but_type_is_a_default(model):
    for name, value in FIELDS[model.slug].items():
        if isinstance(value, dict) and "$ref" in value:
            continue
        assert not [c for c in check(model, {name: value}) if c.path], name
        assert name == "type" or name in coerce(model, {name: value})


@pytest.mark.parametrize("model", BLOCK_TYPES, ids=lambda m: m.slug)
def test_a_default_written_out_means_the_same_as_an_absent_key(model):
    for name, field in model.model_fields.items():
        if not field.is_required():
            default = field.get_default(call_default_factory=True)
            plain = default.model_dump() if hasattr(default, "model_dump") else default
            assert coerce(model, {name: plain}) == {}, name


@pytest.mark.parametrize(
    ("slug", "data", "message"),
    [
        ("process", {"stream_output": "perhaps"}, "stream_output must be true or false"),
        ("process", {"command": "sleep 10"}, "command must be a list"),
        ("process", {"command": ["a", None]}, "command.1 must be text"),
        ("process", {"env": ["A=1"]}, "env must be a mapping"),
        ("process", {"env": {"A": 3.1}}, "env.A must be text: put it in quotes"),
        ("process", {"env": {"A": True}}, "env.A must be text: put it in quotes"),
        ("process", {"env": {"A": {"b": "c"}}}, "env.A must be text"),
        ("process", {"env": None}, "env must be a mapping"),
        ("process", {"type": "docker-container"}, "type must be 'process'"),
        ("kubernetes-job", {"finished_job_ttl": "soon"}, "finished_job_ttl must be a whole number"),
        ("kubernetes-job", {"finished_job_ttl": 1.5}, "finished_job_ttl must be a whole number"),
        ("kubernetes-job", {"customizations": "no json"}, "customizations must be a list"),
        ("docker-container", {"mem_limit": []}, "mem_limit must be a number or text"),
        (
            "docker-container",
            {"image_pull_policy": "always"},
            "image_pull_policy must be 'IF_NOT_PRESENT', 'ALWAYS' or 'NEVER'",
        ),
        (
            "docker-container",
            {"image_registry": {"username": "u", "password": "p"}},
            "image_registry needs registry_url",
        ),
        (
            "docker-container",
            {"image_registry": {**REQUIRED["docker-registry"], "pasword": "p"}},
            "image_registry.pasword is not a field here",
        ),
        ("docker-container", {"image_registry": "x"}, "image_registry must be a mapping"),
        ("cloud-run-job", {"timeout": 3601}, "timeout must be less than or equal to 3600"),
        ("cloud-run-job", {"env": {"A": None}}, "env.A must be text"),
        ("azure-container-instance-job", {"cpu": "much"}, "cpu must be a number"),
        (
            "azure-container-instance-job",
            {"image_registry": {"registry_url": "r"}},
            "image_registry needs username or password or identity",
        ),
    ],
)
def test_a_wrong_value_is_refused_in_words(slug, data, message):
    assert complaints(slug, **data) == [message]


def test_a_complaint_never_holds_the_value():
    canary = "canary-77"
    data = {
        "env": {"A": [Secret(canary)]},
        "command": canary,
        "stream_output": Secret(canary),
        "name": [canary],
    }
    assert len(complaints("process", **data)) == 4
    assert canary not in str(complaints("process", **data))


def test_an_unknown_key_gets_a_near_name():
    [complaint] = check(ProcessSettings, {"workingdir": "x"})
    assert complaint == Complaint(
        ("workingdir",), "process has no field 'workingdir'", "did you mean working_dir?"
    )


def test_a_missing_key_is_named_with_its_meaning():
    found = list(check(settings_of("docker-registry"), {"username": "u", "password": "p"}))
    assert [(c.path, c.message) for c in found] == [((), "docker-registry needs registry_url")]


def test_a_reference_must_fit_its_field():
    registry = Ref(Key.of("block", "docker-registry", "r"))
    aws = Ref(Key.of("block", "aws-credentials", "a"))
    assert complaints("docker-container", image_registry=registry) == []
    assert complaints("docker-container", image_registry=aws) == [
        "image_registry of docker-container takes a docker-registry block, not aws-credentials"
    ]
    assert complaints("docker-container", image=registry) == [
        "image of docker-container takes no block"
    ]


def test_a_required_field_may_be_a_reference():
    data = {
        "image": "i",
        "region": "r",
        "credentials": Ref(Key.of("block", "gcp-credentials", "g")),
    }
    assert list(check(settings_of("cloud-run-job"), data)) == []


def test_masked_values_are_not_judged():
    assert complaints("process", env={"A": MASKED, "B": "x"}, command=["a", MASKED]) == []
    assert complaints("process", env={"A": MASKED, "B": []}) == ["env.B must be text"]


def test_whole_numbers_become_text_where_text_is_wanted():
    data = coerce(ProcessSettings, {"env": {"PORT": 8080, "UNSET": None}, "command": ["sleep", 10]})
    assert data == {"env": {"PORT": "8080", "UNSET": None}, "command": ["sleep", "10"]}


def test_numbers_and_switches_are_read_from_text_as_prefect_does():
    model = settings_of("kubernetes-job")
    assert coerce(model, {"finished_job_ttl": "5", "stream_output": "false"}) == {
        "finished_job_ttl": 5,
        "stream_output": False,
    }


def test_a_live_value_that_fits_no_field_stays_as_it_is():
    data = {"stream_output": "perhaps", "of another version": 1, "env": {"A": 1, "B": []}}
    assert coerce(ProcessSettings, data) == data


def test_references_and_masks_pass():
    ref = Ref(Key.of("block", "docker-registry", "r"))
    data = {"image_registry": ref, "image": MASKED}
    assert coerce(DockerContainerSettings, data) == data
    assert coerce(DockerContainerSettings, {"image_registry": UnknownRef("1")}) == {
        "image_registry": UnknownRef("1")
    }


def test_a_secret_stays_secret_when_it_is_coerced():
    made = coerce(ProcessSettings, {"env": {"A": Secret(5, "A"), "B": 6}, "name": Secret("n")})
    assert repr(made) == "{'env': {'A': <secret>, 'B': '6'}, 'name': <secret>}"
    assert made["env"]["A"].names == ("A",)
    assert same(made["env"], {"A": "5", "B": "6"})


def test_a_secret_that_equals_the_default_is_left_out_as_on_the_live_side():
    assert coerce(ProcessSettings, {"stream_output": Secret("true")}) == {}


def test_json_text_stands_for_the_mapping_or_list():
    google = settings_of("gcp-credentials")
    made = coerce(google, {"service_account_info": Secret('{"a": {"b": 1}}')})
    assert same(made, {"service_account_info": {"a": {"b": 1}}})
    kubernetes = settings_of("kubernetes-job")
    text = '[{"op": "remove", "path": "/x"}]'
    assert coerce(kubernetes, {"customizations": text}) == {
        "customizations": [{"op": "remove", "path": "/x"}]
    }
    assert list(check(google, {"service_account_info": Secret("5")})) != []


def test_one_is_not_true():
    model = settings_of("azure-container-instance-job")
    assert coerce(model, {"cpu": 1}) == {}
    assert coerce(settings_of("docker-registry"), {"reauth": 1}) == {}


def test_both_spellings_of_the_azure_slug_name_one_type():
    assert canonical_slug("container-instance-job") == "azure-container-instance-job"
    assert settings_of("container-instance-job") is settings_of("azure-container-instance-job")
    assert (
        coerce(settings_of("container-instance-job"), {"type": "azure-container-instance-job"})
        == {}
    )
    assert settings_of("s3") is None


def test_the_agent_builds_settings_from_what_a_server_stores():
    made = DockerContainerSettings.model_validate(
        {
            "env": {"A": None, "B": 1.5},
            "image_registry": {
                "username": "u",
                "password": "canary-77",
                "registry_url": "r",
                "x": 1,
            },
            "unknown": True,
        }
    )
    assert made.env == {"A": None, "B": "1.5"}
    assert made.image_registry.password.get_secret_value() == "canary-77"
    assert "canary" not in repr(made)


def test_settings_that_fail_hide_what_they_were_given():
    with pytest.raises(ValidationError) as failed:
        DockerContainerSettings.model_validate({"env": {"A": ["canary-77"]}})
    assert "canary" not in str(failed.value)
