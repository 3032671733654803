"""Rows of `docs/benchmarks.md`: what was measured, beside what, and the ratio that counts."""

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison; numbers in pairs, one of each for every round.

    Attributes:
        what: was done.
        beside: the peer or the floor.
        theirs: its numbers.
        ours: ours, in the order of the rounds.
        target: the ratio theirs / ours that the issue asks for; below 1 against a floor.
        unit: of the numbers.
    """

    what: str
    beside: str
    theirs: Sequence[float]
    ours: Sequence[float]
    target: float
    unit: str

    @property
    def ratio(self) -> float:
        """The median of the ratios of pairs."""
        return statistics.median(a / b for a, b in zip(self.theirs, self.ours, strict=True))

    def __str__(self) -> str:
        """Return a line of the table."""
        theirs, ours = (statistics.median(each) for each in (self.theirs, self.ours))
        met = "yes" if self.ratio >= self.target else "**no**"
        return (
            f"| {self.what} | {self.beside} | {theirs:.3g} {self.unit} | {ours:.3g} {self.unit} "
            f"| {_times(self.ratio)} | {_times(self.target)} | {met} |"
        )


HEAD = "| what | beside | it | reconciler | ratio | target | met |\n|---|---|---|---|---|---|---|"


def _times(ratio: float) -> str:
    return f"{ratio:.3g} x" if ratio >= 1 else f"1/{1 / ratio:.2f}"


def command(text: str | None, measure: Callable[[int, int], Iterator[Row]], *, rounds: int) -> None:
    """Be the command line of one benchmark: measure, and print each row as it comes."""
    parser = argparse.ArgumentParser(description=(text or "").splitlines()[0])
    parser.add_argument("--version", type=int, action="append", choices=[2, 3])
    parser.add_argument("--rounds", type=int, default=rounds)
    options = parser.parse_args()
    for version in options.version or [2, 3]:
        for row in measure(version, options.rounds):
            print(row, flush=True)
