"""From a document to a declaration of a block, with exact places."""

import pytest
from jsonschema import Draft202012Validator

from reconciler.blocks.declare import (
    block_declaration,
    block_key,
    is_block_name,
    parse_reference,
)
from reconciler.blocks.document import editor_schema, parse, recognises
from reconciler.model.desired import Document
from reconciler.model.keys import Key
from reconciler.model.places import Place
from reconciler.model.values import Ref, Secret

START = Place("blocks.yaml", 1, 1)


def document(value, **places):
    marks = {tuple(path.split(".")): Place("blocks.yaml", *at) for path, at in places.items()}
    return Document(value, START, marks)


def block(slug="process", name="etl", data=None, places=None, **more):
    value = {"kind": "Block", "block_type_slug": slug, "name": name, "data": data or {}, **more}
    return parse(document(value, **(places or {})))


def texts(parsed):
    return [str(problem) for problem in parsed.problems]


def test_a_block_becomes_one_declaration_with_the_places_of_its_fields():
    places = {
        "data": (4, 1),
        "data.env": (5, 3),
        "data.env.A": (6, 5),
        "data.env.a.b": (7, 5),
        "name": (3, 7),
    }
    parsed = block(data={"env": {"A": "1"}}, places=places)
    [declared] = parsed.declarations
    assert declared.key == Key.of("block", "process", "etl")
    assert declared.fields == {"data": {"env": {"A": "1"}}}
    assert declared.place == START
    assert not declared.generated
    assert declared.at("data.env.A") == Place("blocks.yaml", 6, 5)
    assert declared.at("data.labels") == Place("blocks.yaml", 4, 1)


def test_a_key_with_a_dot_keeps_its_place():
    value = {"block_type_slug": "process", "name": "p", "data": {"env": {"a.b": "1"}}}
    marks = {("data", "env", "a.b"): Place("f", 9, 9), ("data", "command", 0): Place("f", 8, 8)}
    [declared] = parse(Document(value, START, marks)).declarations
    assert declared.places == {'data.env["a.b"]': Place("f", 9, 9)}


def test_missing_data_means_all_defaults():
    [declared] = parse(document({"block_type_slug": "process", "name": "p"})).declarations
    assert declared.fields == {"data": {}}
    [declared] = parse(
        document({"block_type_slug": "process", "name": "p", "data": None})
    ).declarations
    assert declared.fields == {"data": {}}


def test_both_spellings_of_a_slug_are_one_key():
    assert block_key("container-instance-job", "x") == block_key(
        "azure-container-instance-job", "x"
    )


def test_a_reference_at_the_top_becomes_a_ref():
    [declared] = block(
        "docker-container", data={"image_registry": {"$ref": "docker-registry/r"}}
    ).declarations
    assert declared.fields["data"]["image_registry"] == Ref(Key.of("block", "docker-registry", "r"))


@pytest.mark.parametrize(
    "target", ["docker-registry", "a/b/c", "A/b", {"block_document_id": "1"}, None, 5]
)
def test_a_ref_that_names_no_block_is_a_problem_at_its_place(target):
    parsed = block("other", data={"x": {"$ref": target}}, places={"data": (4, 1), "data.x": (5, 3)})
    assert texts(parsed) == [
        "blocks.yaml:5:3: the $ref of x names no block (write {$ref: <block type slug>/<name>})"
    ]


def test_a_ref_with_other_keys_beside_it_is_a_problem():
    assert len(texts(block("other", data={"x": {"$ref": "a/b", "y": 1}}))) == 1


def test_a_deeper_ref_is_a_problem_since_the_api_resolves_it_nowhere_else():
    parsed = block("other", data={"x": {"y": [{"$ref": "a/b"}]}}, places={"data.x": (5, 3)})
    assert texts(parsed) == [
        "blocks.yaml:5:3: $ref stands too deep: Prefect resolves it at the top level of data only"
    ]


def test_a_json_schema_inside_data_is_left_alone():
    assert texts(block("json", data={"value": {"p": {"$ref": "#/definitions/X"}}})) == []


def test_every_problem_is_reported_at_once():
    parsed = block(
        slug="Process!",
        name="My ETL",
        dta=1,
        places={"dta": (2, 1), "name": (3, 7), "block_type_slug": (1, 18)},
    )
    assert texts(parsed) == [
        "blocks.yaml:2:1: a Block has no key 'dta' (did you mean data?)",
        "blocks.yaml:1:18: block_type_slug may hold lower-case letters, digits and dashes only (for example process)",
        "blocks.yaml:3:7: name may hold lower-case letters, digits and dashes only (for example my-etl)",
    ]
    both = block(name="My ETL", data={"env": 1})
    assert len(both.problems) == 2
    assert both.declarations == ()


def test_missing_and_wrong_keys_are_problems():
    assert texts(parse(document({"name": 5, "data": 1}))) == [
        "blocks.yaml:1:1: a Block needs block_type_slug",
        "blocks.yaml:1:1: name must be text (put it in quotes)",
    ]
    assert texts(block(data=[1])) == ["blocks.yaml:1:1: data must be a mapping"]
    assert texts(block("other", data={5: 1})) == [
        "blocks.yaml:1:1: the key 5 must be text (put it in quotes)"
    ]
    assert texts(block(name="!!!"))[0].endswith("dashes only")


def test_a_wrong_value_is_reported_at_its_own_place():
    places = {"data": (4, 1), "data.env": (5, 3), "data.env.A": (6, 5)}
    assert texts(block(data={"env": {"A": True}}, places=places)) == [
        "blocks.yaml:6:5: env.A must be text: put it in quotes"
    ]


def test_eight_stars_are_no_secret():
    data = {"username": "u", "password": "********", "registry_url": "r"}
    [text] = texts(block("docker-registry", data=data, places={"data.password": (7, 9)}))
    assert text.startswith("blocks.yaml:7:9: eight stars can't be a secret")


@pytest.mark.parametrize("slug", ["reconciler-inventory", "reconciler-lease"])
def test_our_own_books_cannot_be_declared(slug):
    [text] = texts(block(slug))
    assert "our own books" in text


def test_secret_fields_written_in_the_open_are_wrapped():
    data = {"username": "u", "password": "canary-77", "registry_url": "r"}
    [declared] = block("docker-registry", data=data).declarations
    assert isinstance(declared.fields["data"]["password"], Secret)
    assert "canary" not in repr(declared)


def test_other_types_are_checked_for_shape_only():
    [declared] = block("s3", data={"anything": None}).declarations
    assert declared.fields == {"data": {"anything": None}}


def test_inline_infrastructure_is_declared_as_generated_at_its_own_place():
    value = {"infrastructure": {"type": "process", "env": {"A": "1"}}}
    made = document(value, infrastructure=(8, 3), **{"infrastructure.env.A": (9, 5)})
    [declared] = block_declaration(
        "process", "inline-0", value["infrastructure"], made, ("infrastructure",), generated=True
    ).declarations
    assert declared.generated
    assert declared.place == Place("blocks.yaml", 8, 3)
    assert declared.at("data.env.A") == Place("blocks.yaml", 9, 5)
    assert declared.fields == {"data": {"env": {"A": "1"}}}


def test_names_and_references_are_what_prefect_takes():
    assert is_block_name("a-1")
    assert not any(map(is_block_name, ("", "A", "a_b", "a/b", "a\n")))
    assert parse_reference("container-instance-job/x") == block_key(
        "azure-container-instance-job", "x"
    )
    assert parse_reference("x") is None


def test_a_document_with_slug_and_name_is_recognised_as_a_block():
    assert recognises(document({"block_type_slug": "s3", "name": "x"}))
    assert not recognises(document({"name": "x", "data": {}}))


def test_the_editor_schema_knows_the_fields_of_shipped_types():
    schema = editor_schema()
    Draft202012Validator.check_schema(schema)
    judge = Draft202012Validator(schema)

    def fits(slug, **data):
        return judge.is_valid({"kind": "Block", "block_type_slug": slug, "name": "x", "data": data})

    assert fits("process", env={"A": None})
    assert fits("docker-container", image_registry={"$ref": "docker-registry/r"})
    assert fits("s3", whatever=1)
    assert not fits("process", evn={})
    assert not fits("container-instance-job", cpu="much")
