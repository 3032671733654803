"""JSON Schemas for editors."""

import jsonschema
import pytest

from reconciler.errors import UsageError
from reconciler.manifests.schemas import json_schema
from tests.fakes.manifest_kinds import KINDS


@pytest.mark.parametrize("kind", [None, "Block", "deployment", "Policy", "policy"])
def test_every_schema_is_one(kind):
    schema = json_schema(KINDS, kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"].endswith("2020-12/schema")


def test_the_schema_of_a_kind_knows_the_options():
    schema = json_schema(KINDS, "Block")
    assert schema["properties"]["reconcile"]["properties"]["prune"]["type"] == "boolean"
    assert schema["properties"]["kind"] == {"const": "Block"}


def test_the_joint_schema_takes_any_document_and_each_kinds_own_definitions():
    validator = jsonschema.Draft202012Validator(json_schema(KINDS))
    assert validator.is_valid({"kind": "Block", "x": [[], [[]]]})
    assert validator.is_valid({"kind": "Deployment", "reconcile": {"prune": False}})
    assert validator.is_valid({"name": "prod", "prune": {"max_share": 0.3}})
    assert not validator.is_valid({"kind": "Block", "x": [1]})
    assert not validator.is_valid({"kind": "Block", "reconcile": {"prun": False}})


def test_an_unknown_kind_names_a_near_one():
    with pytest.raises(UsageError) as caught:
        json_schema(KINDS, "Deploymnt")
    assert caught.value.hint == "did you mean Deployment?"
