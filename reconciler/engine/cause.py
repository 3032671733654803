"""Why a field differs: four fingerprints (desired, its last, live, its last) decide (DESIGN 6.5)."""

from collections.abc import Iterable, Mapping

from reconciler.model.paths import related
from reconciler.model.plan import Cause

Prints = Mapping[str, str]
"""Fingerprints by leaf path; a path without a value is not in it."""


def moved(last: Prints, now: Prints, path: str) -> bool:
    """Tell whether one side changed at, inside or around a path since the last apply.

    Around it counts too: where `env: {}` became `env: {A: 1}`, the last leaf was `env`.
    """
    before = {leaf: print_ for leaf, print_ in last.items() if related(leaf, path)}
    after = {leaf: print_ for leaf, print_ in now.items() if related(leaf, path)}
    return before != after


def of_field(*, git: bool, drift: bool, secret: bool) -> Cause:
    """Return the cause of one field's difference.

    Args:
        git: the desired side moved.
        drift: the live side moved.
        secret: the path held a secret before, and holds one now.
    """
    if git and drift:
        return Cause.BOTH
    if git:
        return Cause.SECRET if secret else Cause.GIT
    # Where neither moved, the API does not keep what git wants: no less behind git's back.
    return Cause.DRIFT


def of_change(causes: Iterable[Cause]) -> Cause:
    """Return the cause of a whole change from those of its fields."""
    found = set(causes)
    if not found:
        return Cause.GIT
    if len(found) == 1:
        return found.pop()
    return Cause.BOTH if found & {Cause.DRIFT, Cause.BOTH} else Cause.GIT
