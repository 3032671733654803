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

- First apply of 50: the POST of a deployment is an upsert, so a look comes before (one for fifty);
  intents are written before the creates and entries after them (33 writes, 0.7 s of a 3.8.8 server on
  SQLite, 1.1 s of 2.20.26's); everything is read back (0.1 to 0.3 s). The POSTs themselves take what
  the floor does (1.75 s on 2.20.26), and 0.4 s pass before the first request. What could be left out
  was: 255 requests became 103. What is left of the difference is the price of proof: sixteen documents
  of inventory, written twice.
- Second apply from the command line: five requests, of which a 3.8.8 server spends 0.3 to 0.4 s on
  listing fifty deployments and 2.20.26's 0.07 s; the rest is Python's start and imports, 0.4 s of CPU,
  and git's processes. In the service, which has those behind it and asks for what was touched, the same
  takes a third of it or less.
- One changed file among 10,000 on 2.20: a PATCH there deletes all scheduled runs, so what is to come
  back is noted in the inventory before; that makes ten requests of eight. The CPU on 3.8.8 was measured
  with a soak beside it, and before trees were listed by what differs; on 2.20.26 it was 0.34 s then, too.
- A plan of 10,000 on 2.20: its server lists them in a sixth of the time that 3.8.8 takes, so the
  client's own share is seen: imports, the inventory (11 MB), and a comparison of each field.
- 24 flow runs on 2.20: both sides wait for the server, which spends 0.2 s of a core on each run. Ours
  are over in 6.6 s; the server takes 5 s of the two cores' 13, the first look comes after up to 2 s,
  and the runs themselves take 5.5 s. It was 12.7 s when each fork read a bundle of certificates for
  each client that it made (31 % of its CPU, by py-spy), looked all types of settings up anew (24 %),
  and took apart what it shares with all others (70 ms, by `wait4`).
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
