"""Data of other types, judged by the schema that a server has."""

import pytest

from reconciler.blocks.data import normalise, secret_paths
from reconciler.blocks.foreign import check, without_defaults
from reconciler.model.keys import Key
from reconciler.model.values import MASKED, Ref, Secret

SCHEMA = {
    "properties": {
        "host": {"type": "string"},
        "port": {"type": "integer", "default": 5432},
        "mode": {"enum": ["r", "w"]},
        "either": {"anyOf": [{"type": "integer"}, {"type": "boolean"}]},
        "many": {"type": ["integer", "string"]},
        "names": {"type": "array", "items": {"type": "string"}},
        "options": {"type": "object"},
        "inner": {"$ref": "#/definitions/Inner"},
        "child": {"$ref": "#/definitions/Child"},
        "children": {"$ref": "#/definitions/Child"},
        "flag": {"type": "boolean", "default": True},
    },
    "definitions": {
        "Inner": {"type": "object", "required": ["x"], "properties": {"x": {"type": "number"}}},
        "Child": {"block_type_slug": "child"},
    },
    "required": ["host"],
    "secret_fields": ["options.*", "host"],
    "block_schema_references": {
        "child": {"block_type_slug": "child", "block_schema_checksum": "c"},
        "children": [{"block_type_slug": "child"}, {"block_type_slug": "other"}],
    },
}


def messages(**data):
    return [c.message for c in check("db", {"host": "h", **data}, SCHEMA)]


def ref(slug):
    return Ref(Key.of("block", slug, "n"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"port": "x"}, "port must be a whole number"),
        ({"many": []}, "many must be a whole number or text"),
        ({"mode": "x"}, "mode must be one of r, w"),
        ({"names": ["a", 1]}, "names.1 must be text"),
        ({"inner": {}}, "inner needs x"),
        ({"inner": {"x": "1"}}, "inner.x must be a number"),
        ({"either": "x"}, "either does not fit the block type's schema (anyOf)"),
        ({"child": ref("third")}, "child of db takes a child block"),
        ({"children": ref("third")}, "children of db takes a child or other block"),
        ({"port": ref("child")}, "port of db takes no block"),
        ({"prot": 1}, "db has no field 'prot'"),
    ],
)
def test_what_does_not_fit_is_said(data, message):
    assert messages(**data) == [message]


@pytest.mark.parametrize(
    "data",
    [
        {"port": None, "names": None, "inner": {"x": None}},
        {"port": MASKED, "names": [MASKED], "either": MASKED, "inner": MASKED},
        {"child": ref("child"), "children": ref("other")},
        {"child": {"anything": 1}},
        {"names": [Secret("x")], "port": Secret(5)},
    ],
)
def test_what_may_stand_there_is_accepted(data):
    assert messages(**data) == []


@pytest.mark.parametrize(
    "target", ["#/definitions/JsonValue", "#/$defs/JsonValue", "http://127.0.0.1:9/x.json", "x"]
)
@pytest.mark.parametrize("value", [{"user": "u"}, Secret({"user": "u"}), MASKED, [1], "text"])
def test_a_reference_that_leads_nowhere_allows_everything(target, value):
    """The `secret` block of Prefect 3.8.8 has one."""
    either = {"anyOf": [{"type": "string"}, {"$ref": target}]}
    schema = {"properties": {"value": either}, "definitions": {}, "required": ["value"]}
    assert list(check("secret", {"value": value}, schema)) == []


def test_a_required_key_must_be_there_and_not_null():
    assert [c.message for c in check("db", {}, SCHEMA)] == ["db needs host"]


def test_no_message_holds_a_value():
    data = {"port": Secret("canary-77"), "mode": "canary-77", "inner": {"x": ["canary-77"]}}
    assert len(messages(**data)) == 3
    assert "canary" not in str(messages(**data))


def test_a_schema_without_properties_accepts_everything():
    assert list(check("db", {"x": None}, {})) == []


def test_keys_equal_to_their_default_are_left_out():
    data = {"port": 5432, "names": [], "options": {}, "mode": None, "host": None, "flag": 1}
    assert without_defaults(data, SCHEMA) == {"host": None, "flag": 1}
    assert without_defaults({"port": 1, "unknown": None}, SCHEMA) == {"port": 1, "unknown": None}


def test_the_servers_secret_fields_are_wrapped():
    made = normalise("db", {"host": "h", "options": {"a": 1}, "port": 1}, SCHEMA)
    assert repr(made) == "{'host': <secret>, 'options': <secret>, 'port': 1}"
    assert secret_paths("docker-registry", {"secret_fields": ["username"]}) == (
        "password",
        "username",
    )
