"""Schemas in Prefect's format: written so that both server versions compute our checksum."""

import hashlib
import json

import pytest

from reconciler.blocks.prefect_schema import checksum, references, schema_fields, secret_fields
from reconciler.blocks.registry import BLOCK_TYPES, settings_of

SECRETS = {
    "docker-registry": ["password"],
    "aws-credentials": ["aws_secret_access_key"],
    "gcp-credentials": ["service_account_info.*"],
    "azure-container-instance-credentials": ["client_secret"],
    "docker-container": ["image_registry.password"],
    "ecs-task": ["aws_credentials.aws_secret_access_key"],
    "cloud-run-job": ["credentials.service_account_info.*"],
    "azure-container-instance-job": [
        "aci_credentials.client_secret",
        "subscription_id",
        "image_registry.password",
    ],
}
REFERENCES = {
    "docker-container": {"image_registry": "docker-registry"},
    "kubernetes-job": {"cluster_config": "kubernetes-cluster-config"},
    "ecs-task": {"aws_credentials": "aws-credentials"},
    "cloud-run-job": {"credentials": "gcp-credentials"},
    "azure-container-instance-job": {
        "aci_credentials": "azure-container-instance-credentials",
        "image_registry": "docker-registry",
    },
}


@pytest.mark.parametrize("model", BLOCK_TYPES, ids=lambda m: m.slug)
def test_secret_fields_and_references_are_those_of_prefect(model):
    """SOURCE facts/infrastructure-blocks.md."""
    assert list(secret_fields(model)) == SECRETS.get(model.slug, [])
    assert references(model) == REFERENCES.get(model.slug, {})


@pytest.mark.parametrize("model", BLOCK_TYPES, ids=lambda m: m.slug)
def test_every_schema_is_plain_json_without_null_or_unknown_pointers(model):
    text = json.dumps(schema_fields(model))
    assert '"null"' not in text
    assert ": null" not in text
    assert "$defs" not in text
    assert "Settings" not in text, "definitions carry Prefect's names"
    definitions = schema_fields(model).get("definitions", {})
    assert text.count('"$ref": "#/definitions/') >= len(definitions)


def test_a_field_looks_as_prefect_2_wrote_it():
    fields = schema_fields(settings_of("process"))
    assert fields["title"] == "Process"
    env = fields["properties"]["env"]
    assert (env["title"], env["type"]) == ("Environment", "object")
    assert env["additionalProperties"] == {"type": "string"}
    assert fields["properties"]["type"]["enum"] == ["process"]
    assert "default" not in fields["properties"]["name"]
    assert fields["properties"]["stream_output"]["default"] is True
    assert "required" not in fields


def test_nested_blocks_are_defined_with_their_slug():
    fields = schema_fields(settings_of("azure-container-instance-job"))
    assert fields["definitions"]["DockerRegistry"]["block_type_slug"] == "docker-registry"
    assert "block_type_slug" not in fields["definitions"]["ACRManagedIdentity"]
    assert fields["properties"]["image_registry"]["anyOf"] == [
        {"$ref": "#/definitions/DockerRegistry"},
        {"$ref": "#/definitions/ACRManagedIdentity"},
    ]


def test_the_schema_that_a_server_has_for_a_nested_type_is_referred_to():
    model = settings_of("docker-container")
    given = schema_fields(model, {"docker-registry": "sha256:theirs"})
    assert given["block_schema_references"] == {
        "image_registry": {
            "block_type_slug": "docker-registry",
            "block_schema_checksum": "sha256:theirs",
        }
    }
    own = schema_fields(model)["block_schema_references"]["image_registry"]
    assert own["block_schema_checksum"] == checksum(schema_fields(settings_of("docker-registry")))


def test_a_checksum_ignores_secret_fields_and_the_definitions_of_blocks():
    """SOURCE facts/prefect-api.md; the servers' own arithmetic is in tests/integration."""
    fields = {
        "properties": {
            "a": {"allOf": [{"$ref": "#/definitions/Part"}]},
            "b": {"$ref": "#/definitions/B"},
        },
        "definitions": {"Part": {"x": {"$ref": "#/definitions/Deep"}}, "Deep": {}, "Unused": {}},
    }
    with_blocks = {
        **fields,
        "secret_fields": ["a"],
        "definitions": {
            **fields["definitions"],
            "B": {"block_type_slug": "b", "secret_fields": ["c"]},
            "Unused": {"changed": True},
        },
    }
    assert checksum(fields) == checksum(with_blocks)
    only_blocks = {
        "properties": fields["properties"],
        "definitions": {"B": {"block_type_slug": "b"}},
    }
    assert checksum(only_blocks) == checksum({"properties": fields["properties"]})
    assert checksum(fields) != checksum({**fields, "properties": {}})


def test_a_known_checksum_is_reproduced():
    fields = {"title": "X", "properties": {}}
    text = b'[[{"properties": {}, "title": "X"}], {}]'
    assert checksum(fields) == "sha256:" + hashlib.sha256(text).hexdigest()
