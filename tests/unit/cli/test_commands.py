"""The commands that need no server, and every error before one is asked."""

import json
import re
import shutil

import jsonschema
import pytest
import yaml

from reconciler import __version__
from tests.testbed.environments import ROOT

EXAMPLE = ROOT / "examples" / "repo"
BLOCK = "kind: Block\nblock_type_slug: process\nname: a\ndata: {stream_output: true}\n"


@pytest.fixture
def tree(home):
    (home / "reconciler.yaml").write_text("name: shop\n")
    (home / "block.yaml").write_text(BLOCK)
    return home


@pytest.mark.parametrize(
    "line",
    [
        "frobnicate",
        "plan --nope",
        "plan --format xml",
        "plan a b",
        "plan --allow-deletes -1",
        "plan --ref main",
        "plan --path folder",
        "plan folder --repo https://git.example/x",
        "apply --plan missing.json",
        "agent --limit 0",
        "schema Nothing",
        "init --name Not_A_Name",
        "forget nonsense",
        "plan",
        "validate --online",
        "unlock",
    ],
)
def test_wrong_usage_is_64_and_says_what_is_wrong_on_stderr_alone(reconciler, tree, line):
    done = reconciler(*line.split())
    assert done.code == 64
    assert "Error" in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


def test_no_command_shows_the_help(reconciler):
    done = reconciler()
    assert done.code == 64
    assert "validate" in done.err + done.out
    assert reconciler("--help").code == 0


@pytest.mark.parametrize("command", ["init", "validate", "plan", "apply", "drift", "forget"])
def test_each_command_explains_itself(reconciler, command):
    done = reconciler(command, "--help")
    assert done.code == 0
    assert "Usage: " in done.out


def test_an_api_is_asked_for_where_one_is_needed(reconciler, tree):
    done = reconciler("plan")
    assert "no Prefect API is configured" in done.err
    assert "PREFECT_API_URL" in done.err


def test_without_a_terminal_an_apply_needs_yes_and_a_destroy_the_name(reconciler, tree):
    done = reconciler("apply")
    assert (done.code, "--yes" in done.err) == (64, True)
    done = reconciler("destroy")
    assert (done.code, "--confirm shop" in done.err) == (64, True)


def test_a_folder_that_is_not_there_is_said(reconciler, home):
    for command in ("validate", "up"):
        done = reconciler(command, "nowhere")
        assert done.code == 1
        assert "nowhere is no directory" in done.err


def test_up_asks_before_it_uses_an_api_elsewhere(reconciler, tree, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example/api")
    done = reconciler("up")
    assert done.code == 64
    assert "--embedded" in done.err
    assert "--yes" in done.err


def test_an_unreachable_server_is_an_error_and_no_traceback(reconciler, tree, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("RECONCILER_API_DEADLINE_SECONDS", "0.1")
    done = reconciler("plan")
    assert done.code == 1
    assert "127.0.0.1:9" in done.err
    assert "Traceback" not in done.err


def test_a_wrong_setting_names_its_variable(reconciler, tree, monkeypatch):
    monkeypatch.setenv("RECONCILER_API_TIMEOUT_SECONDS", "soon")
    done = reconciler("plan")
    assert done.code == 64
    assert "RECONCILER_API_TIMEOUT_SECONDS" in done.err


# validate


def test_a_valid_tree_is_counted(reconciler, tree):
    done = reconciler("validate")
    assert done.code == 0
    assert "1 resource in 1 file: all is valid" in done.out
    assert json.loads(reconciler("validate", "--format", "json").out) == {
        "valid": True,
        "resources": 1,
        "problems": [],
    }
    assert reconciler("validate", "--format", "github").out == "::notice::all manifests are valid\n"


def test_every_problem_is_shown_with_its_place_and_hint(reconciler, tree):
    (tree / "block.yaml").write_text(BLOCK.replace("stream_output", "strem_output"))
    (tree / "more.yaml").write_text("kind: Blok\nname: b\n")
    done = reconciler("validate")
    assert done.code == 1
    assert "block.yaml:4:8: process has no field 'strem_output' (did you mean stream_output?)" in (
        done.out
    )
    assert "more.yaml:1:" in done.out
    assert "2 problems" in done.out
    found = json.loads(reconciler("validate", "--format", "json").out)
    assert found["valid"] is False
    assert found["problems"][0] == {
        "severity": "error",
        "file": "block.yaml",
        "line": 4,
        "column": 8,
        "message": "process has no field 'strem_output'",
        "hint": "did you mean stream_output?",
    }


def test_githubs_workflow_commands_are_escaped(reconciler, tree):
    (tree / "a,b:50%.yaml").write_text("kind: Block\nblock_type_slug: 'x%0Ay'\nname: a\nnope: 1\n")
    lines = reconciler("validate", "--format", "github").out.splitlines()
    assert lines
    assert all(line.startswith("::error file=a%2Cb%3A50%25.yaml,line=") for line in lines)
    assert "%0A" not in "".join(lines).replace("%250A", "")


def test_broken_manifests_stop_every_command_before_it_connects(reconciler, tree):
    (tree / "block.yaml").write_text("\tkind: Block\n")
    for command in ("plan", "drift", "validate"):
        done = reconciler(command)
        assert done.code == 1
        assert "block.yaml:1:1" in done.err + done.out


# init, schema, version


def test_the_starters_workflows_read_no_secret_and_trust_no_pull_request(reconciler, home):
    assert reconciler("init", "starter").code == 0
    for name in (".github/workflows/reconciler.yaml", ".gitlab-ci.yml"):
        text = (home / "starter" / name).read_text()
        used = re.findall(r"reconciler (?:validate|plan) --[^\n>]+(?:\n +--[^\n>]+)?", text)
        assert used
        for line in used:
            assert "--no-secrets" in line
            assert "--policy-from" in line
            assert "${{" not in line
    github = (home / "starter/.github/workflows/reconciler.yaml").read_text()
    assert "head_ref" not in github  # a branch's name is its author's
    assert "ref: " not in github  # nothing of the pull request is checked out


def test_the_starter_repository_is_valid_and_leaves_what_is_there(reconciler, home):
    done = reconciler("init", "My Flows!")
    assert done.code == 0
    assert "reconciler up" in done.err
    assert yaml.safe_load((home / "My Flows!/reconciler.yaml").read_text())["name"] == "my-flows"
    assert reconciler("validate", "My Flows!").code == 0
    (home / "My Flows!/flows/hello.py").write_text("mine")
    again = reconciler("init", "My Flows!", "--name", "other")
    assert "exists and stays" in again.err
    assert (home / "My Flows!/flows/hello.py").read_text() == "mine"


def test_each_file_of_the_starter_names_its_schema_for_editors_and_fits_it(reconciler, home):
    assert reconciler("init", "starter").code == 0
    files = [file for file in (home / "starter").rglob("*.yaml") if ".github" not in file.parts]
    assert {file.name for file in files} == {"reconciler.yaml", "local.yaml", "hello.yaml"}
    for file in files:
        first = file.read_text().splitlines()[0]
        where = first.removeprefix("# yaml-language-server: $schema=")
        schema = json.loads((file.parent / where).read_text())
        jsonschema.validate(yaml.safe_load(file.read_text()), schema)


def test_an_init_that_cannot_write_says_so(reconciler, home):
    (home / "flows").write_text("a file, not a folder")
    done = reconciler("init")
    assert done.code == 64
    assert "flows" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(("kind", "name"), [(None, "manifest"), ("Policy", "policy")])
def test_the_published_schemas_are_those_of_the_program(reconciler, kind, name):
    """If not: `reconciler schema > docs/schemas/manifest.json`, and the same for Policy."""
    done = reconciler("schema", *([kind] if kind else []))
    assert done.out == (ROOT / f"docs/schemas/{name}.json").read_text()


@pytest.mark.parametrize("kind", [None, "Block", "Deployment", "Policy"])
def test_schemas_are_json_schemas(reconciler, kind):
    done = reconciler("schema", *([kind] if kind else []))
    assert done.code == 0
    schema = json.loads(done.out)
    jsonschema.validators.validator_for(schema).check_schema(schema)


def test_the_schema_accepts_the_example_and_refuses_a_wrong_key(reconciler):
    schema = json.loads(reconciler("schema").out)
    validator = jsonschema.validators.validator_for(schema)(schema)
    documents = [
        document
        for file in EXAMPLE.rglob("*.yaml")
        if file.name != "reconciler.yaml"
        for document in yaml.safe_load_all(file.read_text())
    ]
    assert len(documents) > 10
    for document in documents:
        validator.validate(document)
    assert not validator.is_valid({**documents[0], "no_such_key": 1})
    policy = json.loads(reconciler("schema", "Policy").out)
    jsonschema.validate(yaml.safe_load((EXAMPLE / "reconciler.yaml").read_text()), policy)


def test_the_example_is_valid_in_each_environment(reconciler, home):
    shutil.copytree(EXAMPLE, home / "example")
    for env in ([], ["--env", "dev"], ["--env", "prod"]):
        done = reconciler("validate", "example", *env)
        assert done.code == 0, done.out
    assert reconciler("validate", "example", "--env", "nowhere").code == 1


def test_versions_are_told_to_people_and_programs(reconciler):
    assert f"reconciler {__version__}" in reconciler("version").out
    found = json.loads(reconciler("version", "--json").out)
    assert found["reconciler"] == __version__
    assert set(found) == {"reconciler", "python", "prefect"}


def test_line_and_column_are_numbers_whatever_they_spell(reconciler, home):
    """rich has pictures for words between colons, and for `100`."""
    (home / "reconciler.yaml").write_text("name: shop\n")
    (home / "a.yaml").write_text(
        "\n" * 95 + "kind: Block\nblock_type_slug: process\nname: a\ndata:\n  :x:: 1\n"
    )
    said = reconciler("validate").out
    assert "a.yaml:100:3:" in said
    assert ":x:" in said
