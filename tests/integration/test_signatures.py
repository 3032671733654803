"""The schema that is read from source, against the one that Prefect 3.8.8 makes of the function."""

import json
import subprocess

import pytest

from reconciler.manifests.signatures import signature_of
from tests.testbed.environments import prefect_python

SOURCE = '''
import datetime, uuid
from pathlib import Path
from typing import Any, Dict, List, Literal, Optional, Union

def f(
    a: int,
    b: str = "x",
    c: float = 1.5,
    d: bool = True,
    e: Optional[int] = None,
    f: List[str] = ["a"],
    g: Dict[str, int] = {"a": 1},
    h: Union[int, str] = 3,
    i: Literal["x", "y"] = "x",
    s: Literal["x"] = "x",
    t: Literal[1, "x"] = 1,
    j: "int | None" = None,
    k=5,
    l: Any = None,
    m: list[dict[str, float]] = [],
    *,
    n: datetime.datetime | None = None,
    o: uuid.UUID | None = None,
    p: Path | None = None,
    q: set[int] | None = None,
    r: dict | None = None,
):
    """Do it.

    Args:
        a: the first.
        b (str): the second
            in two lines.
    """
'''
PRINT = """
import json, sys
from prefect.utilities.callables import parameter_schema
space = {}
exec(open(sys.argv[1]).read(), space)
print(json.dumps(parameter_schema(space["f"]).model_dump()))
"""


@pytest.mark.prefect
def test_the_schema_is_that_of_prefect(tmp_path):
    (tmp_path / "flow.py").write_text(SOURCE)
    done = subprocess.run(
        [prefect_python(3), "-c", PRINT, tmp_path / "flow.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(done.stdout.splitlines()[-1])
    ours = signature_of(SOURCE.encode(), "f").schema
    for name, wanted in theirs["properties"].items():
        told = {"description": ours["properties"][name].get("description")}
        # They keep line ends in descriptions; what is told of it is the same.
        if told["description"]:
            assert " ".join(wanted.pop("description").split()) == told["description"]
        mine = {k: v for k, v in ours["properties"][name].items() if k != "description"}
        assert mine == wanted, name
    assert ours["required"] == theirs["required"]
    assert ours["title"] == theirs["title"]
