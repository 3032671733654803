"""A whole tree: every problem at once, each with its place; nothing of it where there is one."""

import json
import time

import pytest

from reconciler.errors import InvalidManifests
from reconciler.manifests.cache import ReadCache
from reconciler.manifests.load import LoadOptions, load
from reconciler.model.desired import DriftPolicy, Options
from reconciler.model.keys import Key
from reconciler.model.places import Place
from reconciler.model.problems import Severity
from reconciler.model.values import MASKED, Secret
from tests.fakes.manifest_kinds import KINDS
from tests.fakes.trees import tree

POLICY = {"reconciler.yaml": "name: example\n"}


def block(name="p", slug="process", data=""):
    text = f"kind: Block\nblock_type_slug: {slug}\nname: {name}\n"
    return text + (f"data: {data}\n" if data else "")


def deployment(name="n", flow="f", more=""):
    return f"kind: Deployment\nflow_name: {flow}\nname: {name}\n{more}"


def loaded(files, links=(), sizes=None, **options):
    return load(tree({**POLICY, **files}, links=links, sizes=sizes), LoadOptions(**options), KINDS)


def problems(files, links=(), sizes=None, **options):
    with pytest.raises(InvalidManifests) as caught:
        loaded(files, links, sizes, **options)
    return [str(problem) for problem in caught.value.problems]


def warnings(files, links=(), **options):
    return [str(problem) for problem in loaded(files, links, **options).warnings]


def test_a_valid_tree_gives_typed_declarations_with_places():
    state = loaded(
        {
            "blocks/p.yaml": block(data="{stream_output: true}"),
            "d.yml": deployment(more="infrastructure: process/p\n"),
        }
    )
    assert [str(key) for key in state.declarations] == ["block/process/p", "deployment/f/n"]
    declared = state.declarations[Key.of("deployment", "f", "n")]
    assert declared.place == Place("d.yml", 1, 1)
    assert declared.at("infrastructure") == Place("d.yml", 4, 1)
    assert state.files == {
        "blocks/p.yaml": (Key.of("block", "process", "p"),),
        "d.yml": (Key.of("deployment", "f", "n"),),
    }
    assert state.policy.name == "example"
    assert (state.revision, state.commit, state.verified) == ("abc123", "abc123", True)
    assert state.warnings == ()


def test_all_problems_come_at_once_in_file_order():
    found = problems(
        {
            "reconciler.yaml": "nam: x\n",
            "a.yaml": block() + "dat: 1\n",
            "b.yaml": "a: b: c",
            "c.yaml": "kind: Blok\n",
            "d.yaml": block(data="{a: '${{ vars.x }}'}"),
        }
    )
    assert [problem.split(": ")[0] for problem in found] == [
        "a.yaml:4:1",
        "b.yaml:1:5",
        "c.yaml:1:1",
        "d.yaml:4:11",
        "reconciler.yaml:1:1",
        "reconciler.yaml:1:1",
    ]


def test_a_broken_file_stops_the_whole_revision():
    with pytest.raises(
        InvalidManifests, match="1 problem in the manifests; nothing of this revision"
    ):
        loaded({"a.yaml": block(), "b.yaml": "\tx"})


BAD = {
    "tabs": ({"a.yaml": "kind: Block\n\tname: x"}, "a.yaml:2:1", "spaces"),
    "duplicate keys": ({"a.yaml": block() + "name: q\n"}, "a.yaml:4:1", "remove one of them"),
    "unknown key": ({"a.yaml": block() + "dat: {}\n"}, "a.yaml:4:1", "did you mean data?"),
    "unknown kind": ({"a.yaml": "kind: Deploymnt"}, "a.yaml:1:1", "did you mean Deployment?"),
    "wrong type": ({"a.yaml": deployment("[1]")}, "a.yaml:3:1", "name it"),
    "kind is no text": ({"a.yaml": "kind: 3"}, "a.yaml:1:1", "known kinds: Block, Deployment"),
    "two documents of one key": (
        {"a.yaml": block(), "b.yaml": "---\n" + block()},
        "b.yaml:2:1",
        "remove or rename",
    ),
    "alias bomb": (
        {
            "a.yaml": "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n"
                for a, b in zip("abcdefg", "bcdefgh", strict=True)
            )
        },
        "a.yaml:6:11",
        "repeat less by anchors",
    ),
    "50,000-deep nesting": ({"a.yaml": "a: " + "[" * 50_000}, "a.yaml:1:103", "no manifest needs"),
    "binary file": ({"a.yaml": b"\x00\x01\x02"}, "a.yaml:1:1", ".reconcilerignore"),
    "non-UTF-8": ({"a.yaml": b"name: \xe9"}, "a.yaml:1:7", "save the file as UTF-8"),
    "missing variable": (
        {"a.yaml": block(data="{a: '${{ vars.x }}'}")},
        "a.yaml:4:11",
        "define it below `vars:`",
    ),
    "missing secret": (
        {"a.yaml": block(data="{a: '${{ secrets.x }}'}")},
        "a.yaml:4:11",
        "name a provider below `secrets:`",
    ),
    "reference cycle": (
        {
            "a.yaml": block("a", data="{r: {$ref: process/b}}"),
            "b.yaml": block("b", data="{r: {$ref: process/a}}"),
        },
        "a.yaml:4:8",
        "remove one of them",
    ),
    "reference to itself": (
        {"a.yaml": block("a", data="{r: {$ref: process/a}}")},
        "a.yaml:4:8",
        "remove one of them",
    ),
    "unknown option": (
        {"a.yaml": block() + "reconcile: {prun: false}\n"},
        "a.yaml:4:13",
        "did you mean prune?",
    ),
    "unquoted template": (
        {"a.yaml": "kind: Block\nname: {{ x }}\n"},
        "a.yaml:2:8",
        "in quotes",
    ),
}


@pytest.mark.parametrize(("files", "place", "hint"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_named_with_its_place_and_a_hint_and_nothing_is_applied(files, place, hint):
    started = time.monotonic()
    found = problems(files)
    assert any(text.startswith(f"{place}: ") and hint in text for text in found), found
    assert time.monotonic() - started < 1


def test_a_huge_file_is_refused_without_being_read():
    snapshot = tree({**POLICY, "big.yaml": "a: 1"}, sizes={"big.yaml": 100_000_000})
    with pytest.raises(InvalidManifests) as caught:
        load(snapshot, LoadOptions(), KINDS)
    assert [str(problem) for problem in caught.value.problems] == [
        (
            "big.yaml:1:1: 100,000,000 bytes, more than the 1,000,000 that a manifest may have"
            " (split it, or name it in .reconcilerignore)"
        )
    ]
    assert snapshot.contents.read_paths == ["reconciler.yaml"]


def test_a_link_that_looks_like_a_manifest_is_a_problem():
    assert problems({}, links=(("x/evil.yaml", "a link"), (".x/hidden.yaml", "a link"))) == [
        "x/evil.yaml:1:1: a link (put the file itself there, or name it in .reconcilerignore)"
    ]


def test_a_link_that_may_be_a_folder_of_manifests_is_a_warning():
    assert warnings({}, links=(("elsewhere", "a link"), ("logo.png", "a link"))) == [
        (
            "elsewhere:1:1: not read: a link"
            " (put the file itself there, or name it in .reconcilerignore)"
        )
    ]


def test_warnings_stand_beside_errors_and_do_not_stop_a_revision():
    assert warnings({"x.yaml": "services: {}"}) == [
        "x.yaml:1:1: no known kind of document (add `kind:`, or name the file in .reconcilerignore)"
    ]
    with pytest.raises(InvalidManifests) as caught:
        loaded({"x.yaml": "services: {}", "y.yaml": "\tx"})
    severities = [problem.severity for problem in caught.value.problems]
    assert severities == [Severity.WARNING, Severity.ERROR]


def test_offline_a_reference_that_leaves_the_tree_is_a_warning():
    files = {
        "a.yaml": block("etl"),
        "b.yaml": deployment(more="infrastructure: process/elt\n"),
        "c.yaml": block("q", data="{r: {$ref: docker-registry/private}}"),
    }
    assert warnings(files, offline=True) == [
        (
            "b.yaml:4:1: block/process/elt is not in this tree; it is looked up on the server"
            " (did you mean block/process/etl?)"
        ),
        (
            "c.yaml:4:8: block/docker-registry/private is not in this tree;"
            " it is looked up on the server (declare it here unless it exists there)"
        ),
    ]
    assert warnings(files) == []


def test_every_cycle_is_named_in_the_order_of_its_references():
    found = problems(
        {
            "a.yaml": block("a", data="{r: {$ref: process/c}}"),
            "b.yaml": block("b", data="{r: {$ref: process/a}}"),
            "c.yaml": block("c", data="{r: {$ref: process/b}}"),
            "x.yaml": block("x", data="{r: {$ref: process/x}}"),
            "y.yaml": block("y", data="{r: {$ref: process/x}}"),
        }
    )
    assert [text.split(": ", 2)[2].split(" (")[0] for text in found] == [
        "block/process/a → block/process/c → block/process/b → block/process/a",
        "block/process/x → block/process/x",
    ]


def test_options_of_a_document_are_typed():
    text = (
        "reconcile: {prune: false, drift: report, ignore: [paused], suspend: true,"
        " adopt: true, previous_name: old}\n"
    )
    state = loaded({"a.yaml": deployment(more=text)})
    (declared,) = state.declarations.values()
    assert declared.options == Options(
        prune=False,
        drift=DriftPolicy.REPORT,
        ignore=("paused",),
        suspend=True,
        adopt=True,
        previous_name="old",
    )
    assert "reconcile" not in declared.fields
    assert state.warnings == ()


def test_an_inline_block_follows_its_document_as_a_whole_but_not_its_field_paths():
    more = "infrastructure: {type: process}\nreconcile: {prune: false, ignore: [x], previous_name: y}\n"
    state = loaded({"a.yaml": deployment(more=more)})
    inline = state.declarations[Key.of("block", "process", "inline")]
    assert inline.generated
    assert inline.options == Options(prune=False)
    assert state.files["a.yaml"] == (
        Key.of("block", "process", "inline"),
        Key.of("deployment", "f", "n"),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("reconcile: 3", "a.yaml:4:1: must be a mapping"),
        ("reconcile: {prune: 'no'}", "a.yaml:4:13: `prune` must be true or false"),
        ("reconcile: {drift: mend}", "a.yaml:4:13: `drift` must be 'heal' or 'report'"),
        ("reconcile: {ignore: [3]}", "a.yaml:4:22: `ignore.0` must be text"),
        ("reconcile: {previous_name: ''}", "a.yaml:4:13: `previous_name`"),
        ("reconcile: {previous_name: p}", "a.yaml:4:13: previous_name is the name that it has now"),
        ("reconcile: {ignore: a}", "a.yaml:4:13: `ignore` must be a list"),
    ],
)
def test_a_wrong_option_is_a_problem_at_its_place(text, problem):
    (found,) = problems({"a.yaml": block() + text})
    assert found.startswith(problem)


def test_empty_options_are_none():
    (declared,) = loaded({"a.yaml": block() + "reconcile:\n"}).declarations.values()
    assert declared.options == Options()


def test_a_file_that_declares_nothing_is_listed_as_read():
    state = loaded({"a.yaml": "# nothing\n", "k.yaml": "apiVersion: v1\nkind: Deployment\n"})
    assert state.files == {"a.yaml": (), "k.yaml": ()}


def test_variables_come_from_the_policy_and_secrets_from_the_environment():
    state = loaded(
        {
            "reconciler.yaml": "name: x\nvars: {tag: 3}\nsecrets: [{env: S_}]\n",
            "a.yaml": block(data="{image: 'a:${{ vars.tag }}', p: '${{ secrets.pw }}'}"),
        },
        secret_env={"S_pw": "canary"},
    )
    (declared,) = state.declarations.values()
    data = declared.fields["data"]
    assert data["image"] == "a:3"
    assert isinstance(data["p"], Secret)
    assert data["p"].reveal() == "canary"
    assert "canary" not in repr(state)
    assert state.secrets_read


def test_secrets_come_from_a_directory_outside_the_tree(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "pw").write_text("canary\n")
    files = {
        "reconciler.yaml": f"name: x\nsecrets: [{{dir: {tmp_path}/run}}]\n",
        "a.yaml": block(data="{p: '${{ secrets.pw }}'}"),
    }
    (declared,) = loaded(files, base_dir=tmp_path / "tree").declarations.values()
    assert declared.fields["data"]["p"].reveal() == "canary"
    assert problems(files, base_dir=tmp_path)[0].startswith(
        "a.yaml:4:11: there is no secret pw (name a provider"
    )
    assert problems(files, base_dir=tmp_path)[1] == (
        "reconciler.yaml:2:11: the directory of secrets lies inside the tree"
        " (keep secrets out of git)"
    )


def test_no_secrets_reads_none_and_masks_their_values():
    state = loaded(
        {
            "reconciler.yaml": "name: x\nsecrets: [{env: S_}]\n",
            "a.yaml": block(data="{p: 'x${{ secrets.pw }}'}"),
        },
        no_secrets=True,
    )
    (declared,) = state.declarations.values()
    assert declared.fields["data"]["p"] == MASKED
    assert not state.secrets_read


def test_policy_from_another_tree_is_taken_instead_and_the_own_one_not_read():
    trusted = tree({"reconciler.yaml": "name: trusted\nvars: {x: 1}\n"})
    snapshot = tree({"reconciler.yaml": "\tbroken", "a.yaml": block(data="{x: '${{ vars.x }}'}")})
    state = load(snapshot, LoadOptions(policy_from=trusted), KINDS)
    assert state.policy.name == "trusted"
    assert state.declarations[Key.of("block", "process", "p")].fields["data"] == {"x": 1}


def test_only_changed_and_moved_files_are_read_again():
    cache = ReadCache()
    first = tree({**POLICY, "a.yaml": block("a"), "b.yaml": block("b")})
    load(first, LoadOptions(cache=cache), KINDS)
    second = tree(
        {**POLICY, "a.yaml": block("a"), "b.yaml": block("c"), "moved/b.yaml": block("b")}
    )
    state = load(second, LoadOptions(cache=cache), KINDS)
    assert second.contents.read_paths == ["reconciler.yaml", "b.yaml", "moved/b.yaml"]
    assert state.declarations[Key.of("block", "process", "b")].place.file == "moved/b.yaml"


def test_a_service_holds_the_files_of_one_revision():
    options = LoadOptions(cache=ReadCache())
    whole = {**POLICY, "a.yaml": block("a"), "b.yaml": block("b")}
    for files in (whole, {**POLICY, "a.yaml": block("a")}):
        load(tree(files), options, KINDS)
    again = tree(whole)
    load(again, options, KINDS)
    assert again.contents.read_paths == ["reconciler.yaml", "b.yaml"]


def test_a_file_that_uses_a_secret_is_read_again_since_the_secret_may_have_changed():
    cache, files = ReadCache(), {"a.yaml": block(data="{p: 'x${{ secrets.p }}'}")}
    policy = {"reconciler.yaml": "name: x\nsecrets: [{env: S_}]\n"}
    for value in ("one", "two"):
        options = LoadOptions(cache=cache, secret_env={"S_p": value})
        (declared,) = load(tree(policy | files), options, KINDS).declarations.values()
        assert declared.fields["data"]["p"].reveal() == f"x{value}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("vars: {x: 1}\n", "vars: {x: 2}\n"),
        (
            "vars: {x: 1}\n",
            "vars: {x: 1}\nenvironments: {e: {vars: {x: 2}}}\n",
        ),
        (
            "environments: {e: {patches: [{target: {kind: Block}, patch: {data: {x: 1}}}]}}\n",
            "environments: {e: {patches: [{target: {kind: Block}, patch: {data: {x: 2}}}]}}\n",
        ),
    ],
)
def test_what_the_policy_changes_in_an_unchanged_file_is_seen(before, after):
    cache, found = ReadCache(), []
    text = block(data="{x: '${{ vars.x }}'}" if "vars" in before else "{}")
    for policy in (before, after):
        files = {"reconciler.yaml": f"name: x\n{policy}", "a.yaml": text}
        environment = "e" if "environments" in policy else None
        options = LoadOptions(cache=cache, environment=environment)
        (declared,) = load(tree(files), options, KINDS).declarations.values()
        found.append(declared.fields["data"]["x"])
    assert found == [1, 2]


def test_places_of_patched_values_move_with_the_policy_though_nothing_else_changed():
    cache, lines = ReadCache(), []
    policy = (
        "name: x\nenvironments:\n  e: {patches: [{target: {kind: Block}, patch: {data: {x: 1}}}]}\n"
    )
    for comment in ("", "# a comment\n\n"):
        files = {"reconciler.yaml": comment + policy, "a.yaml": block()}
        options = LoadOptions(cache=cache, environment="e")
        (declared,) = load(tree(files), options, KINDS).declarations.values()
        place = declared.at("data.x")
        assert place.file == "reconciler.yaml"
        lines.append(place.line)
    assert lines == [3, 5]


def test_problems_and_used_patches_of_unchanged_files_are_told_each_time():
    cache = ReadCache()
    policy = (
        "name: x\nenvironments: {e: {patches: [{target: {kind: Block}, patch: {data: {x: 1}}}]}}\n"
    )
    good = {"reconciler.yaml": policy, "a.yaml": block()}
    bad = {**good, "b.yaml": "kind: Blok\n"}
    options = LoadOptions(cache=cache, environment="e")
    assert load(tree(good), options, KINDS).warnings == ()
    assert load(tree(good), options, KINDS).warnings == ()
    for _ in range(2):
        with pytest.raises(InvalidManifests) as caught:
            load(tree(bad), options, KINDS)
        assert [problem.place.file for problem in caught.value.problems] == ["b.yaml"]


def test_the_digest_depends_on_what_is_wanted_not_on_files_or_commit():
    one = {"a.yaml": block("a", data="{x: 1, y: 2}"), "b.yaml": block("b")}
    other = {"z.yaml": "# moved\n---\n" + block("b") + "---\n" + block("a", data="{y: 2, x: 1}")}
    first = load(tree({**POLICY, **one}), LoadOptions(), KINDS)
    second = load(tree({**POLICY, **other}, revision="def"), LoadOptions(), KINDS)
    assert first.digest == second.digest
    assert first.digest.startswith("sha256:")


@pytest.mark.parametrize(
    "changed",
    [
        {"a.yaml": block("a", data="{x: 2}")},
        {"a.yaml": block("b", data="{x: 1}")},
        {"a.yaml": block("a", data="{x: 1}") + "reconcile: {prune: false}\n"},
        {"a.yaml": block("a", data="{x: 1}"), "reconciler.yaml": "name: example\ndrift: report\n"},
        {"a.yaml": block("a", data="{x: '1'}")},
        {"a.yaml": block("a", data="{x: {$ref: a/b}}")},
    ],
)
def test_the_digest_moves_with_what_is_wanted(changed):
    before = loaded({"a.yaml": block("a", data="{x: 1}")})
    assert loaded(changed).digest != before.digest


def test_a_secret_takes_part_in_the_digest_by_its_name_only():
    def state(name, value):
        return loaded(
            {
                "reconciler.yaml": "name: x\nsecrets: [{env: S_}]\n",
                "a.yaml": block(data=f"{{p: '${{{{ secrets.{name} }}}}'}}"),
            },
            secret_env={f"S_{name}": value},
        ).digest

    assert state("a", "1") == state("a", "2")
    assert state("a", "1") != state("b", "1")


def test_problems_hold_no_secret():
    files = {
        "reconciler.yaml": "name: x\nsecrets: [{env: S_}]\n",
        "a.yaml": block("[1]", data="{p: '${{ secrets.pw }}'}") + "nam: ${{ secrets.pw }}\n",
        "b.yaml": block(data="{p: '${{ secrets.pw }} ${{ vars.none }}'}"),
    }
    found = problems(files, secret_env={"S_pw": "canary"})
    assert len(found) == 3
    assert "canary" not in json.dumps(found)


def test_loading_thousands_of_documents_takes_a_moment():
    text = "---\n".join(
        deployment(f"n{n}", more="tags: [a]\nparameters: {x: 1}\n") for n in range(1000)
    )
    started = time.process_time()
    assert len(loaded({"a.yaml": text}).declarations) == 1000
    assert time.process_time() - started < 5
