"""What a flow function takes, read without running it; and deployments that no longer fit it."""

import pytest

from reconciler.kinds import KINDS
from reconciler.manifests.load import LoadOptions, load
from reconciler.manifests.signatures import signature_of
from tests.fakes.trees import tree

SOURCE = b'''
raise SystemExit("this must never run")

@flow(name="ETL of the shop", description="Moves things.")
def etl(
    self_made: Order,
    limit: int = 10,
    names: list[str] | None = None,
    mode: Literal["fast", "slow"] = "fast",
    *,
    since: datetime.datetime | None = None,
    options: dict[str, float] = {"a": 1.5},
    made_when_called=now(),
):
    """Move things from here to there.

    Args:
        self_made: an order
            of two lines.
        limit (int): how many.

    Returns:
        nothing
    """

async def plain(): ...

class Flows:
    @staticmethod
    def inner(x: "Optional[int]"): ...

def anything(**more): ...
'''


def test_types_defaults_and_docstrings_are_read():
    found = signature_of(SOURCE, "etl")
    assert (found.flow_name, found.description) == ("ETL of the shop", "Moves things.")
    assert found.required == ("self_made",)
    properties = found.schema["properties"]
    assert properties["self_made"] == {
        "title": "self_made",
        "position": 0,
        "description": "an order of two lines.",
    }
    assert properties["limit"] == {
        "title": "limit",
        "position": 1,
        "type": "integer",
        "default": 10,
        "description": "how many.",
    }
    assert properties["names"]["anyOf"] == [
        {"type": "array", "items": {"type": "string"}},
        {"type": "null"},
    ]
    assert properties["names"]["default"] is None
    assert properties["mode"]["enum"] == ["fast", "slow"]
    assert properties["since"]["anyOf"][0] == {"type": "string", "format": "date-time"}
    assert properties["options"]["additionalProperties"] == {"type": "number"}
    assert properties["options"]["default"] == {"a": 1.5}
    assert "default" not in properties["made_when_called"]


def test_functions_are_found_where_they_stand():
    assert signature_of(SOURCE, "plain").flow_name == "plain"
    inner = signature_of(SOURCE, "Flows.inner")
    assert inner.schema["properties"]["x"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]
    assert signature_of(SOURCE, "anything").open
    assert signature_of(SOURCE, "missing") is None
    assert signature_of(b"def my_flow(): ...", "my_flow").flow_name == "my-flow"


@pytest.mark.parametrize(
    "source", [b"def f(:", b"\x00", b"(" * 10_000, b"x = " + b"-" * 100_000 + b"1"]
)
def test_what_is_no_python_is_said(source):
    with pytest.raises(ValueError):
        signature_of(source, "f")


def warnings(manifest, source=SOURCE):
    files = {"reconciler.yaml": "name: x\n", "a.yaml": manifest, "flows/etl.py": source}
    return [str(one) for one in load(tree(files), LoadOptions(), KINDS).warnings]


GOOD = """\
kind: Deployment
flow_name: ETL of the shop
name: nightly
entrypoint: flows/etl.py:etl
path: $STORAGE_BASE_PATH
parameters: {limit: 3}
"""


def test_a_deployment_that_fits_is_passed_in_silence():
    assert warnings(GOOD) == []
    elsewhere = GOOD.replace("$STORAGE_BASE_PATH", "/srv/flows").replace("limit", "nonsense")
    assert warnings(elsewhere) == []  # that code isn't here


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("limit: 3", "limti: 3", "a.yaml:6:14: the function has no parameter limti (did you mean"),
        (":etl", ":elt", "a.yaml:4:1: flows/etl.py has no function elt"),
        ("ETL of the shop", "etl", "the flow of this function is called ETL of the shop, not etl"),
        (
            "parameters: {limit: 3}",
            "parameter_openapi_schema: {properties: {old: {}, limit: {}}}",
            "has parameters that the function lacks: old",
        ),
        (
            "parameters: {limit: 3}",
            "parameter_openapi_schema: {properties: {limit: {}}}",
            "lacks parameters: self_made",
        ),
    ],
)
def test_a_deployment_that_no_longer_fits_its_function_is_a_warning(old, new, said):
    assert any(said in one for one in warnings(GOOD.replace(old, new)))


def test_code_that_cannot_be_read_is_a_warning():
    assert "is no Python that this version reads: line 1" in warnings(GOOD, b"def f(:")[0]
