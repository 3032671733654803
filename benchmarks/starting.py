"""How long starts take: `reconciler version` beside `prefect version`; help beside bare imports.

python -m benchmarks.starting [--version 2|3] [--rounds N]
"""

import sys
import tempfile
from collections.abc import Iterator

from benchmarks import bed
from benchmarks.report import Row, command
from tests.testbed.environments import prefect_python
from tests.testbed.prefect import VERSIONS


def measure(version: int, rounds: int) -> Iterator[Row]:
    """Yield what was measured."""
    prefect = str(prefect_python(version).with_name("prefect"))
    with tempfile.TemporaryDirectory() as home:
        env = {"PREFECT_HOME": home}
        ours, theirs, helps, typer = [], [], [], []
        for _ in range(rounds + 1):
            theirs.append(bed.run([prefect, "version"], env).cpu)
            ours.append(bed.run([str(bed.RECONCILER), "version"], env).cpu)
            typer.append(bed.run([sys.executable, "-c", "import typer"], env).cpu)
            helps.append(bed.run([str(bed.RECONCILER), "--help"], env).cpu)
    # The first round finds nothing in the disk's cache, nor compiled.
    beside = f"`prefect version` {VERSIONS[version]}"
    yield Row("`reconciler version`, CPU", beside, theirs[1:], ours[1:], 10, "s")
    if version == max(VERSIONS):
        floor = "`import typer` (floor)"
        yield Row("`reconciler --help`, CPU", floor, typer[1:], helps[1:], 1 / 3, "s")


if __name__ == "__main__":
    command(__doc__, measure, rounds=7)
