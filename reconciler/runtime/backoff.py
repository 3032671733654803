"""Jittered exponential back-off."""

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double up to a ceiling, each shortened at random.

    Attributes:
        first: the first delay, in seconds.
        ceiling: the longest delay, in seconds.
        factor: what each delay is multiplied with.
        jitter: the largest share that is taken off at random, 0 to 1.
    """

    first: float = 0.25
    ceiling: float = 20.0
    factor: float = 2.0
    jitter: float = 0.5

    def delays(self, source: random.Random | None = None) -> Iterator[float]:
        """Yield delays in seconds, without end."""
        chance = source or random.Random()  # noqa: S311 - spreads load, guards nothing
        delay = self.first
        while True:
            yield delay * (1 - self.jitter * chance.random())
            delay = min(delay * self.factor, self.ceiling)
