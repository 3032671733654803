"""Write what was broken and survived as a table: `python -m tests.testbed.reliability REPORT.xml OUT.md`.

The rows are the tests' own names, which say what holds; a section is a module, under the first line
of its text.
"""

import ast
import re
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_HEAD = """# What is broken on purpose, and what holds

Written by `make chaos`: every line is a test with real Prefect servers, through a proxy that fails
when it is told to, and kills with SIGKILL. `✓ 4` says that four cases of it passed: before and after
the request, with one replica and two, and so on. Random choices come from seeds, which a failing
test prints and takes again (`RECONCILER_SEED`; Hypothesis prints its own). CI runs the same tests
at some of the places; `make chaos` at every one. How each infrastructure type does through every
ending stands in [its own matrix](infrastructure/matrix.md).
"""
_VERSIONS = ("2.20", "3.x")


def page(report: Path) -> str:
    """Build the page from a JUnit report."""
    sections: dict[str, dict[str, dict[str, list[bool]]]] = defaultdict(lambda: defaultdict(dict))
    for case in ET.parse(report).getroot().iter("testcase"):
        name, _, ids = (case.get("name") or "").partition("[")
        module = _module(case.get("classname") or "")
        row = name.removeprefix("test_").replace("_", " ")
        column = next((v for v in _VERSIONS if v in ids or ids.startswith(f"{v[0]}-")), "")
        good = not any(case.iter("failure")) and not any(case.iter("error"))
        sections[module][row].setdefault(column, []).append(good)
    lines = [_HEAD]
    for module, rows in sections.items():
        lines += [
            f"## {module}",
            "",
            "| | 2.20.26 | 3.8.8 | without a server |",
            "|---|---|---|---|",
        ]
        for row, columns in rows.items():
            cells = [_cell(columns.get(column)) for column in (*_VERSIONS, "")]
            lines.append(f"| {row} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _module(name: str) -> str:
    """Return the first sentence of a test module."""
    path = _ROOT / (name.replace(".", "/") + ".py")
    text = ast.get_docstring(ast.parse(path.read_text())) or name
    return re.split(r"[:.]\s", text.splitlines()[0])[0].rstrip(".")


def _cell(results: list[bool] | None) -> str:
    if not results:
        return "·"
    bad = results.count(False)
    return f"✗ {bad} of {len(results)}" if bad else f"✓ {len(results)}"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(page(Path(sys.argv[1])), encoding="utf-8")
