"""Which files are manifests."""

import pytest

from reconciler.manifests.files import select, within
from reconciler.manifests.marks import Limits
from tests.fakes.trees import tree


def chosen(files, folders=()):
    selection = select(tree(dict.fromkeys(files, "")), folders, Limits())
    assert not selection.problems
    return [file.path for file in selection.files]


def with_ignore(text, files=("a.yaml",)):
    return select(tree({**dict.fromkeys(files, ""), ".reconcilerignore": text}), (), Limits())


def test_yaml_files_below_the_root_are_manifests_sorted_by_path():
    assert chosen(["b.yml", "a.yaml", "x/y/c.yaml", "flows/etl.py", "README.md", "d.YAML"]) == [
        "a.yaml",
        "b.yml",
        "x/y/c.yaml",
    ]


def test_dot_files_and_dot_folders_and_the_policy_are_passed_over():
    assert chosen([".github/ci.yaml", ".hidden.yaml", "a/.b/c.yaml", "reconciler.yaml"]) == []
    assert chosen(["sub/reconciler.yaml"]) == ["sub/reconciler.yaml"]


def test_folders_of_other_environments_are_passed_over():
    assert chosen(["prod/a.yaml", "prod2/a.yaml", "x/prod/a.yaml"], ["prod"]) == [
        "prod2/a.yaml",
        "x/prod/a.yaml",
    ]
    assert within("prod", "prod")


def test_the_ignore_file_speaks_gitignore():
    files = ("helm/a.yaml", "b/helm/a.yaml", "c/x.gen.yaml", "c/keep.gen.yaml", "d.yaml")
    selection = with_ignore("# no manifests\n/helm/\n*.gen.yaml\n!keep.gen.yaml\n", files)
    assert [file.path for file in selection.files] == ["b/helm/a.yaml", "c/keep.gen.yaml", "d.yaml"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"\xff", ".reconcilerignore:1:1: byte 0xff at offset 0 is not UTF-8"),
        ("a\n!\n", ".reconcilerignore:1:1: Invalid"),
    ],
)
def test_a_broken_ignore_file_is_a_problem(text, problem):
    assert str(with_ignore(text).problems[0]).startswith(problem)


def test_a_huge_ignore_file_is_not_read():
    snapshot = tree({".reconcilerignore": "x"}, sizes={".reconcilerignore": 2_000_000})
    assert "larger" in str(select(snapshot, (), Limits()).problems[0])
    assert snapshot.contents.read_paths == []


def test_what_is_ignored_may_be_a_link_or_huge():
    snapshot = tree(
        {".reconcilerignore": "data/\n", "data/big.yaml": "x"},
        links=(("data/link.yaml", "a link"),),
        sizes={"data/big.yaml": 2_000_000},
    )
    assert select(snapshot, (), Limits()).problems == ()
