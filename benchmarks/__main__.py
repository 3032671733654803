"""Run the benchmarks and write `docs/benchmarks.md`: `python -m benchmarks [PART …] [--version 2|3]`.

What a part measured is kept in `benchmarks/results/`, so that parts can be run one by one; the page
has all that is there.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks import applying, flow_runs, scale, starting
from benchmarks.report import HEAD, Row

KEPT = Path(__file__).with_name("results")
PAGE = Path("docs/benchmarks.md")
PARTS: dict[str, Callable[[int, int], Iterator[Row]]] = {
    "starting": starting.measure,
    "applying": applying.measure,
    "flow_runs": flow_runs.measure,
    "scale": scale.measure,
}
TEXT = """# Benchmarks

Each line compares two programs, or this one with a floor, that did the same on the same server in
turns; the ratio is the median of the ratios of pairs, and counts more than the numbers beside it, which
are medians and depend on the machine. Written by `make bench` ({parts}).

Machine: {machine}. Date: {date}. Rounds: {rounds}.

{table}

Flow runs and thousands of objects are on servers with PostgreSQL: on SQLite Prefect 3.8.8 freezes for
a minute now and then, for every client. The fifty deployments are on SQLite. The bare listing asks for
one page after the other and does nothing with them; a plan reads ten thousand files and the inventory,
too, and compares.

The peers run with their defaults, as their documents tell to use them: `prefect deploy --all` on a
`prefect.yaml`, Prefect 2.20's agent and Prefect 3.8's process worker. 3.8.8's `deploy` is told that
there are no workers, since its own server refuses that question here, and it would end after its
first deployment. Against a target of so many requests, seconds or megabytes the ratio is the target
by what was measured. CPU is that of the launching program and of all that it started, by the kernel's
account, its start left out.

## What keeps a target from being met

By a proxy that notes each request, and by profiles:

- First apply of 50 on 2.20.26 beside the floor: its server makes a deployment in 26 ms, so what does not
  depend on their number weighs. Before the first POST of a deployment pass 0.65 s: 0.27 s until Python asks
  the first question, 0.2 s until the tree is read, 0.15 s for the lease, its type, the inventory's type and
  the intents. After the last one 0.1 s for reading back what was written, and 0.04 s for the entries and the
  end of the lease. The rest are POSTs that SQLite refused, for a second writer came, and their repeats. It
  is 77 requests; it was 103 while even a small inventory was spread over sixteen documents.
- One changed file among 10,000 on 2.20: a PATCH there deletes overdue runs, those too that an agent gave
  back after the schedules were turned off, so they are looked for before: nine requests of eight.

What was in the way before, and how it was found: a push among 10,000 listed its tree anew (0.34 s of CPU);
a plan of 10,000 on 2.20 compared for 3.3 s after its listing, half of that in asking abstract classes and
in HMACs of equal values; 0.4 s of a second apply was waiting for a 3.8.8 server that now works while Python
imports; each fork of a 2.20 run read a bundle of certificates for each client that it made (31 % of its
CPU), looked all types of settings up anew (24 %), and took apart what it shares with all others (70 ms).
"""


def main() -> None:
    """Measure what is asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    parser.add_argument("--version", type=int, action="append", choices=[2, 3])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    for part in options.parts or PARTS:
        for version in options.version or [3, 2]:
            rows = []
            for row in PARTS[part](version, options.rounds):
                print(row, flush=True)
                rows.append(asdict(row))
            (KEPT / f"{part}-{version}.json").write_text(json.dumps(rows))
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Put the page together from all that was measured."""
    rows, parts = [], []
    for part in PARTS:
        for path in sorted(KEPT.glob(f"{part}-*.json"), reverse=True):
            rows += [Row(**row) for row in json.loads(path.read_text())]
            parts.append(path.stem)
    rounds = sorted({len(row.ours) for row in rows})
    memory = psutil.virtual_memory().total / 2**30
    return TEXT.format(
        parts=", ".join(parts),
        machine=f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}",
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        rounds=f"{rounds[0]} to {rounds[-1]} pairs",
        table="\n".join([HEAD, *map(str, rows)]),
    )


if __name__ == "__main__":
    main()
