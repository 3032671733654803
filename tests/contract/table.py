"""Write the results of the matrix as a table: `python -m tests.contract.table REPORT.xml OUT.md`."""

import re
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

from tests.contract.platforms import PLATFORMS

_HEAD = """# Every infrastructure type through every ending

Each cell is a test with real servers: the agent as a process of its own, and the platform as the
test bed has it (Docker: a real engine; Kubernetes: a real cluster; ECS: moto with real containers;
Cloud Run and Azure: a server that follows the documented API, with real containers). A test passes
if there was exactly one execution, the right final state with its reason, and nothing was left on
the platform. `·`: the type knows no such ending (a process has no image, and neither it nor a
container of an engine waits for a place to run). Written by `make matrix`.
"""
_GOOD, _BAD, _NONE = "✓", "✗", "·"
_CASE = re.compile(r"^test_(?P<name>\w+)\[(?P<ids>.+)\]$")


def table(report: Path) -> str:
    """Build the table from a JUnit report of `tests/contract/test_matrix.py`."""
    slugs = [platform.slug for platform in PLATFORMS]
    cells: dict[str, dict[str, bool]] = defaultdict(dict)
    for case in ET.parse(report).getroot().iter("testcase"):
        found = _CASE.match(case.get("name") or "")
        if found is None or "test_matrix" not in (case.get("classname") or ""):
            continue
        slug = next(slug for slug in slugs if slug in found["ids"])
        detail = found["ids"].replace(slug, "").strip("-")
        row = found["name"].replace("_", " ") + (f" ({detail})" if detail else "")
        cells[row][slug] = not len(case)
    lines = [f"| | {' | '.join(slugs)} |", f"|---|{'---|' * len(slugs)}"]
    for row, results in cells.items():
        marks = [{None: _NONE, True: _GOOD, False: _BAD}[results.get(slug)] for slug in slugs]
        lines.append(f"| {row} | {' | '.join(marks)} |")
    return "\n".join([_HEAD, *lines, ""])


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(table(Path(sys.argv[1])), encoding="utf-8")
