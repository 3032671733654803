"""`${{ vars.X }}` and `${{ secrets.X }}`."""

import pytest

from reconciler.manifests.marks import Limits, read
from reconciler.manifests.variables import Scope, substitute, substitute_document
from reconciler.model.values import MASKED, Secret

VARS = {"a": {"b": 1, "deep": {"c": None}}, "s": "t", "yes": True, "list": [1, 2], "pi": 3.5}


class Vault:
    """A whole fake of the secret providers."""

    def __init__(self, **secrets):
        self.secrets = secrets
        self.asked = []

    def get(self, name):
        self.asked.append(name)
        if name not in self.secrets:
            raise LookupError(f"there is no secret {name}", "looked for it in a fake")
        return Secret(self.secrets[name], name)


class Stars:
    def get(self, name):
        return MASKED


def node(text):
    (root,) = read(text.encode(), Limits()).documents
    return root


def resolve(text, variables=VARS, secrets=None):
    scope = Scope("f.yaml", variables, secrets or Vault(one="1", two="2"))
    value = substitute_document(node(text), scope)
    return value, [str(problem) for problem in scope.problems]


def clean(text, **kwargs):
    value, problems = resolve(text, **kwargs)
    assert problems == []
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${{ vars.s }}", "t"),
        ("${{vars.s}}", "t"),
        ("${{ vars.a.b }}", 1),
        ("${{ vars.a }}", VARS["a"]),
        ("${{ vars.list }}", [1, 2]),
        ("${{ vars.yes }}", True),
        ("${{ vars.a.deep.c }}", None),
        ("x${{ vars.s }}y${{ vars.a.b }}", "xty1"),
        ("${{ vars.s }}${{ vars.s }}", "tt"),
        ("is ${{ vars.yes }} ${{ vars.pi }}", "is true 3.5"),
        ("{{ prefect.variables.x }} ${{ vars.s }} {{ y }}", "{{ prefect.variables.x }} t {{ y }}"),
        ("$${{ vars.s }}", "${{ vars.s }}"),
        ("$${{ x }} ${{ vars.s }}", "${{ x }} t"),
        ("$$${{ x }}", "$${{ x }}"),
        ("$STORAGE_BASE_PATH ${x} {{ y }}", "$STORAGE_BASE_PATH ${x} {{ y }}"),
    ],
)
def test_variables_are_replaced_and_keep_their_type_when_alone(text, value):
    assert clean(f"v: '{text}'") == {"v": value}


def test_expressions_are_found_in_lists_and_mappings_of_any_depth():
    text = "p: {l: ['${{ vars.s }}', {m: '${{ vars.a.b }}'}, 3]}"
    assert clean(text) == {"p": {"l": ["t", {"m": 1}, 3]}}


def test_text_with_a_secret_becomes_a_secret_as_a_whole():
    value = clean("u: https://${{ secrets.one }}:${{ secrets.two }}@${{ vars.s }}/")["u"]
    assert isinstance(value, Secret)
    assert value.reveal() == "https://1:2@t/"
    assert value.names == ("one", "two")


def test_a_secret_alone_is_the_secret_itself():
    value = clean("p: ${{ secrets.one }}")["p"]
    assert value.reveal() == "1"
    assert value.names == ("one",)


def test_secret_names_may_have_dots_and_dashes():
    value = clean("p: ${{ secrets.tls.crt-1 }}", secrets=Vault(**{"tls.crt-1": "x"}))["p"]
    assert value.reveal() == "x"


def test_a_masked_secret_masks_the_whole_text():
    assert clean("p: a ${{ secrets.one }} b", secrets=Stars()) == {"p": MASKED}


def test_only_secrets_that_are_named_are_read():
    vault = Vault(one="1", two="2")
    clean("p: ${{ secrets.two }}", secrets=vault)
    assert vault.asked == ["two"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("v: ${{ vars.region }}", "f.yaml:1:4: the variable region is not defined"),
        ("v: ${{ vars.yess }}", "f.yaml:1:4: the variable yess is not defined (did you mean yes?)"),
        ("v: ${{ vars.a.x }}", "f.yaml:1:4: the variable a.x is not defined (did you mean a.b?)"),
        ("v: ${{ vars.s.x }}", "f.yaml:1:4: the variable s.x is not defined"),
        (
            "v: ${{ secrets.three }}",
            "f.yaml:1:4: there is no secret three (looked for it in a fake)",
        ),
        (
            "v: x ${{ vars.s",
            "f.yaml:1:4: ${{ without its }} (write $${{ for a plain ${{)",
        ),
        (
            "v: ${{ github.sha }}",
            (
                "f.yaml:1:4: ${{ github.sha }} is neither vars.NAME nor secrets.NAME"
                " (write $${{ for a plain ${{)"
            ),
        ),
        (
            "v: ${{ }}",
            (
                "f.yaml:1:4: ${{  }} is neither vars.NAME nor secrets.NAME"
                " (write $${{ for a plain ${{)"
            ),
        ),
        (
            "v: ${{ secrets.a/../b }}",
            (
                "f.yaml:1:4: ${{ secrets.a/../b }} is neither vars.NAME nor secrets.NAME"
                " (write $${{ for a plain ${{)"
            ),
        ),
        (
            "v: x${{ vars.list }}",
            "f.yaml:1:4: null, a list or a mapping can't stand inside text (use it alone)",
        ),
        (
            "v: x${{ vars.a.deep.c }}",
            "f.yaml:1:4: null, a list or a mapping can't stand inside text (use it alone)",
        ),
        (
            "m: {'x${{ vars.s }}': 1}",
            (
                "f.yaml:1:5: variables and secrets stand in values, not in keys"
                " (write $${{ for a plain ${{)"
            ),
        ),
        (
            "${{ secrets.one }}: 1",
            (
                "f.yaml:1:1: variables and secrets stand in values, not in keys"
                " (write $${{ for a plain ${{)"
            ),
        ),
    ],
)
def test_each_mistake_is_said_with_its_place(text, problem):
    value, problems = resolve(text)
    assert [found[: len(problem)] for found in problems] == [problem]
    assert value == node(text).value


def test_a_few_known_variables_are_all_named_and_none_says_where_to_define_one():
    _, (problem,) = resolve("v: ${{ vars.zzz }}", variables={"q": 1})
    assert problem == "f.yaml:1:4: the variable zzz is not defined (defined: q)"
    _, (problem,) = resolve("v: ${{ vars.zzz }}", variables={})
    assert problem.endswith("(define it below `vars:` in reconciler.yaml)")


@pytest.mark.parametrize("key", ["kind", "name", "flow_name", "block_type_slug"])
def test_what_names_a_resource_is_no_secret(key):
    _, problems = resolve(f"{key}: ${{{{ secrets.one }}}}\nx: 1")
    assert problems == [
        f"f.yaml:1:{len(key) + 3}: secrets.one can't be used here (this must be readable)"
    ]
    assert clean(f"{key}: ${{{{ vars.s }}}}") == {key: "t"}


def test_options_are_no_secret():
    _, problems = resolve("reconcile: {ignore: ['${{ secrets.one }}']}")
    assert "can't be used here" in problems[0]


def test_where_no_variable_may_stand_it_is_said():
    scope = Scope("f.yaml", None, None)
    assert substitute(node("a: ${{ vars.s }}"), scope) == {"a": "${{ vars.s }}"}
    assert str(scope.problems[0]) == "f.yaml:1:4: vars.s can't be used here (write the value out)"


def test_a_document_without_expressions_is_passed_on_as_it_is():
    root = node("a: {b: [1]}")
    assert substitute_document(root, Scope("f.yaml", {}, Vault())) is root.value
