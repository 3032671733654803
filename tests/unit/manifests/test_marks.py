"""YAML to values with places, inside limits."""

import time

import pytest

from reconciler.manifests.marks import Limits, read
from reconciler.manifests.nodes import Places
from reconciler.model.places import Place

DEFAULT = Limits()


def values(text, limits=DEFAULT):
    content = read(text.encode() if isinstance(text, str) else text, limits)
    assert not content.flaws
    return [node.value for node in content.documents]


def problems(text, limits=DEFAULT):
    data = text.encode() if isinstance(text, str) else text
    return [str(flaw.problem("f.yaml")) for flaw in read(data, limits).flaws]


def bomb():
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for before, name in zip("abcdefg", "bcdefgh", strict=True):
        lines.append(f"{name}: &{name} [{','.join(['*' + before] * 9)}]")
    return "\n".join(lines)


def test_every_value_has_a_place_and_a_mapping_entry_has_the_place_of_its_key():
    text = "kind: Block\ndata:\n  env: {A: 1, 'B': [x, {y: z}]}\n"
    (root,) = read(text.encode(), Limits()).documents
    places = Places("f.yaml", root)
    assert places[()] == Place("f.yaml", 1, 1)
    assert places["data", "env"] == Place("f.yaml", 3, 3)
    assert places["data", "env", "B"] == Place("f.yaml", 3, 15)
    assert places["data", "env", "B", 1] == Place("f.yaml", 3, 24)
    assert places["data", "env", "B", 1, "y"] == Place("f.yaml", 3, 25)


def test_places_listed_are_those_looked_up():
    (root,) = read(b"a: {b: [1, {c: 2}]}\nd: x", Limits()).documents
    listed, single = Places("f", root), Places("f", root)
    assert len(listed) == 7
    assert {path: single[path] for path in listed} == dict(listed.items())


@pytest.mark.parametrize(
    "path", [("x",), ("a", 0), ("l", 9), ("l", -1), ("l", "a"), ("a", "b", "c")]
)
def test_a_path_that_leads_nowhere_has_no_place(path):
    (root,) = read(b"a: {b: 1}\nl: [1]", Limits()).documents
    places = Places("f", root)
    assert path not in places
    assert len(places) == 5
    assert path not in places


def test_columns_count_characters_not_bytes():
    (root,) = read("é😀: {a: b}".encode(), Limits()).documents
    assert Places("f", root)["é😀", "a"] == Place("f", 1, 6)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 2024-01-01", "2024-01-01"),
        ("a: 2024-01-01 10:00:00Z", "2024-01-01 10:00:00Z"),
        ("a: !!timestamp 2024-01-01", "2024-01-01"),
        ("a: on", True),
        ("a: No", False),
        ("a: 'on'", "on"),
        ("a: ! 12", "12"),
        ("a: !!str 12", "12"),
        ("a: !!int '12'", 12),
        ("a: 0x1f", 31),
        ("a: 1_000", 1000),
        ("a: 010", 8),
        ("a: 1e3", "1e3"),
        ("a: 1.5e+3", 1500.0),
        ("a: ~", None),
        ("a:", None),
        ("a: =", "="),
        ("a: |\n  x\n  y\n", "x\ny\n"),
        ("a: 9223372036854775807", 2**63 - 1),
        ("\ufeffa: 1", 1),
    ],
)
def test_scalars_are_read_as_prefect_reads_them_but_dates_stay_text(text, value):
    assert values(text) == [{"a": value}]


def test_merge_keys_fill_in_what_the_mapping_lacks():
    text = "d: &d {a: 1, b: {c: 2}}\ne:\n  <<: *d\n  a: 3\nf: {<<: [*d, {a: 9, z: 1}]}\n'<<': 3"
    (value,) = values(text)
    assert value["e"] == {"a": 3, "b": {"c": 2}}
    assert value["f"] == {"a": 1, "b": {"c": 2}, "z": 1}
    assert value["<<"] == 3


def test_what_an_alias_brings_has_the_place_of_its_anchor():
    (root,) = read(b"d: &d {a: 1}\ne: {<<: *d, f: *d}\n", Limits()).documents
    places = Places("f", root)
    assert places["e", "a"] == Place("f", 1, 8)
    assert places["e", "f"] == Place("f", 2, 13)


def test_an_anchor_may_be_used_again_and_ends_with_its_document():
    assert values("a: &x 1\nb: &x 2\nc: *x") == [{"a": 1, "b": 2, "c": 2}]
    assert "no anchor &x" in problems("a: &x 1\n---\nb: *x")[0]


def test_empty_documents_are_left_out():
    assert values("---\n---\n# nothing\n---\na: 1\n...\n") == [{"a": 1}]
    assert values("") == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "a: {c: 1,\n c: 2}\nb: 1\na: 3\n",
            [
                (
                    "f.yaml:2:2: the key 'c' stands twice in one mapping, first at f.yaml:1:5"
                    " (remove one of them)"
                ),
                (
                    "f.yaml:4:1: the key 'a' stands twice in one mapping, first at f.yaml:1:1"
                    " (remove one of them)"
                ),
            ],
        ),
        (
            "a:\n\tb: 1\n",
            [
                (
                    "f.yaml:2:1: not YAML: found character that cannot start any token"
                    " while scanning for the next token"
                    " (indent with spaces: YAML allows no tabs there)"
                )
            ],
        ),
        (
            "a:\n  - x\n\t- y\n",
            [
                (
                    "f.yaml:3:1: not YAML: found a tab character that violates indentation"
                    " while scanning a plain scalar (indent with spaces: YAML allows no tabs there)"
                )
            ],
        ),
        (
            "a: b: c",
            [
                (
                    "f.yaml:1:5: not YAML: mapping values are not allowed in this context"
                    " (check indentation, colons and quotes around it)"
                )
            ],
        ),
        (
            "a: [1,\n",
            [
                (
                    "f.yaml:2:1: not YAML: did not find expected node content"
                    " while parsing a flow node (check indentation, colons and quotes around it)"
                )
            ],
        ),
        (
            "a: {{ x }}",
            [
                (
                    "f.yaml:1:5: a key must be text, not a mapping"
                    ' (put text with {{ … }} in quotes: "{{ … }}")'
                )
            ],
        ),
        (
            "a: {{ x }} y",
            [
                'f.yaml:1:5: a key must be text, not a mapping (put text with {{ … }} in quotes: "{{ … }}")',
                (
                    "f.yaml:1:12: not YAML: did not find expected key while parsing a block mapping"
                    ' (put text with {{ … }} in quotes: "{{ … }}")'
                ),
            ],
        ),
        (
            "on: 1",
            [
                (
                    "f.yaml:1:1: a key must be text, not a boolean (YAML reads on, off, yes and no so)"
                    ' (write it in quotes: "on")'
                )
            ],
        ),
        ("7: 1", ['f.yaml:1:1: a key must be text, not a number (write it in quotes: "7")']),
        ("~: 1", ['f.yaml:1:1: a key must be text, not null (write it in quotes: "~")']),
        (
            "? [a]\n: 1",
            [
                (
                    "f.yaml:1:3: a key must be text, not a list"
                    ' (put text with {{ … }} in quotes: "{{ … }}")'
                )
            ],
        ),
        ("a: !env X", ["f.yaml:1:4: the tag '!env' is not allowed (remove it)"]),
        (
            "a: !!python/object:os.system {}",
            ["f.yaml:1:4: the tag '!!python/object:os.system' is not allowed (remove it)"],
        ),
        ("a: !!binary aGk=", ["f.yaml:1:4: the tag '!!binary' is not allowed (remove it)"]),
        ("a: !!set {b}", ["f.yaml:1:4: the tag '!!set' is not allowed (remove it)"]),
        (
            "a: .nan",
            [
                (
                    "f.yaml:1:4: '.nan' is no float that JSON and Prefect can hold"
                    " (write it in quotes if it is text)"
                )
            ],
        ),
        (
            "a: 9223372036854775808",
            [
                (
                    "f.yaml:1:4: '9223372036854775808' is no int that JSON and Prefect can hold"
                    " (write it in quotes if it is text)"
                )
            ],
        ),
        (
            "a: !!bool maybe",
            [
                (
                    "f.yaml:1:4: 'maybe' is no bool that JSON and Prefect can hold"
                    " (write it in quotes if it is text)"
                )
            ],
        ),
        (
            "a: {<<: 3}",
            ["f.yaml:1:5: << merges a mapping or a list of mappings (as in <<: *defaults)"],
        ),
        (
            "a: *x",
            [
                (
                    "f.yaml:1:4: the alias *x has no anchor &x before it"
                    " (put text that starts with * in quotes)"
                )
            ],
        ),
        (
            "a: &a [*a]",
            ["f.yaml:1:8: the alias *a stands inside its own anchor (write the value out)"],
        ),
        (
            "a: \x01",
            [
                (
                    "f.yaml:1:4: the character U+0001 is not allowed in YAML"
                    ' (write it as an escape in double quotes, such as "\\x07")'
                )
            ],
        ),
    ],
)
def test_each_mistake_is_said_with_its_place_and_what_to_do(text, problem):
    assert problems(text) == problem


def test_bytes_that_are_not_utf8_are_named_with_their_offset():
    text = "a: é\nb: ü\xff".encode("latin-1")
    assert problems(text) == [
        "f.yaml:1:4: byte 0xe9 at offset 3 is not UTF-8 (save the file as UTF-8)"
    ]
    assert problems(b"\xef\xbb\xbfa: \xff") == [
        "f.yaml:1:4: byte 0xff at offset 6 is not UTF-8 (save the file as UTF-8)"
    ]


def test_a_binary_file_is_called_one():
    assert problems(b"a: 1\n\x7fELF\x00\x01") == [
        (
            "f.yaml:2:5: a binary file: byte 0x00 at offset 9"
            " (if it is no manifest, name it in .reconcilerignore)"
        )
    ]


@pytest.mark.parametrize("opening", ["[", "- ", "{a: ", "? ", "{? "])
def test_deep_nesting_is_refused_before_it_costs_anything(opening):
    started = time.monotonic()
    found = problems(opening * 50_000)
    assert len(found) == 1
    assert time.monotonic() - started < 1


def test_deep_indentation_is_refused_too():
    (problem,) = problems("".join(" " * level + "a:\n" for level in range(1000)))
    assert problem.startswith("f.yaml:101:101: nested more than 100 levels deep")


def test_fifty_thousand_levels_are_refused_at_the_hundred_and_first():
    assert problems("[" * 50_000) == [
        "f.yaml:1:101: nested more than 100 levels deep (no manifest needs that many)"
    ]
    assert values("[" * 100 + "]" * 100)


def test_an_alias_bomb_is_refused_at_once():
    text = bomb()
    assert len(text) < 300
    started = time.monotonic()
    (problem,) = problems(text)
    assert problem == (
        "f.yaml:6:11: more than 200,000 values, aliases written out"
        " (split the file, or repeat less by anchors)"
    )
    assert time.monotonic() - started < 1


def test_a_long_text_repeated_by_aliases_counts_by_its_length():
    text = f"a: &a {'x' * 500_000}\n" + "b: [" + ",".join(["*a"] * 100) + "]"
    assert "more than 200,000 values" in problems(text)[0]


def test_merging_counts_what_it_copies():
    keys = ",".join(f"k{n}: 1" for n in range(100))
    text = f"a: &a {{{keys}}}\n" + "\n".join(f"b{n}: {{<<: *a}}" for n in range(10))
    assert "more than 2,000 values" in problems(text, Limits(weight=2000))[0]


def test_sane_anchors_are_fine():
    text = "d: &d {A: x}\n" + "\n".join(f"b{n}: {{env: *d}}" for n in range(1000))
    assert len(values(text)[0]) == 1001


def test_more_documents_than_allowed_are_refused():
    assert problems("a: 1\n---\nb: 1\n---\nc: 1\n", Limits(documents=2)) == [
        "f.yaml:4:1: more than 2 documents in one file (split the file)"
    ]


def test_a_number_of_a_megabyte_is_refused_at_once():
    started = time.monotonic()
    assert "is no int" in problems("a: 1" + ":1" * 400_000)[0]
    assert "is no float" in problems("a: 1" + ":1" * 400_000 + ".5")[0]
    assert time.monotonic() - started < 2


def test_a_file_full_of_mistakes_is_not_read_to_its_end():
    found = problems("a: 1\n" * 10_000)
    assert len(found) == 101
    assert (
        found[-1]
        == "f.yaml:101:1: too many problems: the rest of the file was not read (mend those)"
    )


def test_mistakes_of_several_documents_are_all_found_and_the_documents_kept():
    content = read(b"a: 1\na: 2\n---\nb: 1\nb: 2\n", Limits())
    assert [flaw.mark.line for flaw in content.flaws] == [2, 5]
    assert [node.value for node in content.documents] == [{"a": 1}, {"b": 1}]
    assert content.weight == 7
