"""Schemas of block types of one's own: what is wrong has its place, and one form on both sides."""

import pytest

from reconciler.blocks.custom import full_schema, normal_schema, schema_problems
from reconciler.kinds.block_type import BlockType
from reconciler.model.desired import Document
from reconciler.model.places import Place

GOOD = {
    "properties": {"host": {"type": "string"}, "word": {"type": "string", "format": "password"}},
    "required": ["host"],
}


def test_what_prefect_wants_beside_the_properties_is_added():
    assert full_schema("a-b", "A B", GOOD) == {
        "title": "A B",
        "type": "object",
        "properties": {
            "host": {"type": "string"},
            "word": {"type": "string", "format": "password", "writeOnly": True},
        },
        "required": ["host"],
        "block_type_slug": "a-b",
        "secret_fields": ["word"],
        "block_schema_references": {},
    }


def test_what_was_added_is_no_difference():
    assert normal_schema(full_schema("a-b", "A B", GOOD)) == normal_schema(GOOD) == GOOD


def test_a_field_without_the_format_of_a_password_can_be_secret_too():
    schema = {"properties": {"a": {"type": "object"}}, "secret_fields": ["a.*"]}
    full = full_schema("a", "A", schema)
    assert full["secret_fields"] == ["a.*"]
    assert normal_schema(full) == schema


@pytest.mark.parametrize(
    ("schema", "path", "said"),
    [
        ({}, (), "needs properties"),
        ({**GOOD, "title": "x"}, ("title",), "follows from the rest"),
        ({**GOOD, "requird": []}, ("requird",), "no key 'requird'"),
        ({**GOOD, "required": ["hst"]}, ("required",), "names hst"),
        ({**GOOD, "required": "host"}, ("required",), "must be a list"),
        ({**GOOD, "secret_fields": ["x"]}, ("secret_fields",), "names x"),
        ({"properties": {"a b": {}}}, ("properties", "a b"), "can't be the name of a field"),
        ({"properties": {"a": 3}}, ("properties", "a"), "must be a mapping"),
        (
            {"properties": {"a": {"type": "strng"}}},
            ("properties", "a", "type"),
            '"strng" is no type in JSON',
        ),
        ({"properties": {"a": {"$ref": "#/definitions/B"}}}, (), "leads nowhere"),
        ({**GOOD, "block_schema_references": {"a": {}}}, ("block_schema_references",), "hold"),
    ],
)
def test_each_mistake_is_said_at_its_place_with_a_hint(schema, path, said):
    found = list(schema_problems(schema))
    assert any(at == path and said in text for at, text, _ in found), found
    assert all(hint for _, _, hint in found)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"slug": "A"}, "a-z, 0-9 and dashes"),
        ({"slug": "process"}, "the program knows by itself"),
        ({"slug": "reconciler-lease"}, "our own books"),
        ({"name": "Prefect X"}, "may not begin with Prefect"),
        ({"name": "a/b"}, "may not begin with Prefect nor hold"),
        ({"name": None}, "name"),
        ({"logo": "x"}, "no key 'logo'"),
    ],
)
def test_names_and_keys_are_checked_offline(fields, said):
    value = {"kind": "BlockType", "slug": "a", "name": "A", "block_schema": GOOD, **fields}
    parsed = BlockType().parse(Document(value, Place("t.yaml", 1, 1)))
    assert any(said in one.message for one in parsed.problems), parsed.problems
