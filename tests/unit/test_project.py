"""The project's own rules: what may stand in its files, and that everything has its line for users."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import reconciler
from reconciler import settings
from reconciler.infrastructure import INFRASTRUCTURE
from reconciler.kinds import KINDS
from reconciler.telemetry.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
LONGEST_MODULE = 400
# Put together so that this file does not name what it forbids.
FORBIDDEN = re.compile(
    r"py" r"pi\.org|python" r"hosted|--(extra-)?index" r"-url[ =]|(?<!\w)/wo" r"rk/(main|shared)|/tm" r"p/lab"
    r"|arti" r"factory|--find" r"-links[ =]"
)  # fmt: skip
GROUPS = (
    settings.ConnectionSettings,
    settings.AgentSettings,
    settings.PlatformSettings,
    settings.ServiceSettings,
    settings.SourceSettings,
    settings.WebSettings,
    settings.ForgeSettings,
    settings.NotifySettings,
    settings.SecretSettings,
)


def tracked_files():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [file for file in found if file.is_file()]


def documentation():
    return "\n".join(file.read_text() for file in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")])


def test_no_file_names_a_package_registry_or_a_folder_of_the_machine():
    found = []
    for file in tracked_files():
        text = file.read_text(encoding="utf-8", errors="replace")
        found += [f"{file.relative_to(ROOT)}: {hit[0]}" for hit in FORBIDDEN.finditer(text)]
    assert found == []


def test_modules_stay_short():
    modules = [*ROOT.glob("reconciler/**/*.py"), *ROOT.glob("tests/testbed/*.py")]
    long = {
        str(module.relative_to(ROOT)): lines
        for module in modules
        if (lines := len(module.read_text().splitlines())) > LONGEST_MODULE
    }
    assert long == {}


def test_requirements_are_pinned_by_hash():
    for file in (ROOT / "requirements").glob("*.txt"):
        starts = [line for line in file.read_text().splitlines() if line and line[0] not in " #"]
        assert all("==" in line for line in starts), file
        assert file.read_text().count("--hash=sha256:") >= len(starts), file


def pins(name):
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[.*\])?==(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", ["base", "server", "build"])
def test_all_environments_agree_on_versions(name):
    """So that `make up` and `make test` can share .venv."""
    agreed = pins("dev")
    assert {k: v for k, v in pins(name).items() if agreed.get(k, v) != v} == {}


@pytest.mark.parametrize("extra", ["dependencies", "server", "dev"])
def test_the_pinned_files_know_every_dependency(extra):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"].get(extra, [])
    names = {re.match(r"[A-Za-z0-9._-]+", each)[0].lower().replace("_", "-") for each in wanted}
    file = {"dependencies": "base"}.get(extra, extra)
    assert names - set(pins(file)) == set(), "run `make requirements`"


@pytest.mark.parametrize(
    "variable",
    [settings.variables_of(group, field)[0] for group in GROUPS for field in group.model_fields],
)
def test_every_setting_has_a_line_for_users(variable):
    assert f"`{variable}`" in documentation()


@pytest.mark.parametrize("metric", [family.name for family in Metrics().registry.collect()])
def test_every_metric_has_a_line_for_users(metric):
    assert f"`{metric}" in documentation()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_has_a_line_for_users_and_an_example(kind):
    assert f"`{kind.name}`" in (ROOT / "README.md").read_text()
    examples = "\n".join(file.read_text() for file in ROOT.glob("examples/repo/**/*.yaml"))
    assert f"kind: {kind.name}\n" in examples


@pytest.mark.parametrize("launcher", INFRASTRUCTURE, ids=lambda launcher: launcher.slug)
def test_every_infrastructure_type_has_a_line_for_users(launcher):
    assert f"`{launcher.slug}`" in (ROOT / "README.md").read_text()


def test_the_changelog_is_in_the_form_of_keep_a_changelog():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text
    headings = re.findall(r"^### (.*)$", text, re.MULTILINE)
    assert set(headings) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_links_between_the_documents_lead_somewhere():
    for file in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name} links to {target}"


def test_the_wheel_has_types_the_version_and_nothing_but_the_package(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)

    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()

    assert wheel.name.startswith(f"prefect_reconciler-{reconciler.__version__}-")
    assert "reconciler/py.typed" in names
    assert "reconciler/web/templates/base.html" in names
    assert "reconciler/web/static/style.css" in names
    assert {name.split("/")[0] for name in names} == {
        "reconciler",
        f"prefect_reconciler-{reconciler.__version__}.dist-info",
    }


def test_the_package_does_not_import_prefect():
    """It speaks HTTP, starts in a blink and works with either major version (DESIGN 3)."""
    imports = re.compile(r"^\s*(import|from) prefect\b", re.MULTILINE)
    guilty = [
        file
        for file in ROOT.glob("reconciler/**/*.py")
        if imports.search(
            re.sub(r"'''.*?'''|\"\"\".*?\"\"\"", "", file.read_text(), flags=re.DOTALL)
        )
    ]
    assert guilty == []
