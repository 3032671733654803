"""Draw what a soak noted: `python -m benchmarks.plot FILE.csv …` writes `docs/images/soak.svg`.

Runs in an environment of its own (`requirements/plot.txt`).
"""

import csv
import sys
from pathlib import Path

import matplotlib as mpl  # type: ignore[import-not-found]

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "soak"  # the same picture from the same numbers

from matplotlib import pyplot as plt  # noqa: E402 - after the choice of what draws

PANELS = {
    "memory": "memory, MB",
    "handles": "handles",
    "push": "push to in force, s",
    "heal": "drift healed, s",
    "launch": "due to RUNNING, s",
}


def main() -> None:
    """Draw one panel for each thing that was noted, one line for each file."""
    figure, axes = plt.subplots(len(PANELS), 1, figsize=(9, 11), sharex=True)
    for file in map(Path, sys.argv[1:]):
        with file.open(newline="") as lines:
            samples = list(csv.DictReader(lines))
        for axis, (name, title) in zip(axes, PANELS.items(), strict=True):
            seen = [(int(one["runs"]), float(one[name])) for one in samples if one[name]]
            axis.plot(*zip(*seen, strict=True), linewidth=0.8, label=file.stem)
            axis.set_ylabel(title)
            axis.set_ylim(bottom=0)
    axes[0].legend()
    axes[-1].set_xlabel("flow runs")
    figure.tight_layout()
    figure.savefig("docs/images/soak.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
