"""The nearest known word to one that is not known: for hints."""

from collections.abc import Iterable
from difflib import get_close_matches

_ENOUGH_TO_LIST = 12


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant, None if none is near."""
    found = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str], *, what: str = "known") -> str | None:
    """Return a hint: the near word, or else all known ones if they are few.

    Args:
        word: what was written.
        known: what could have been.
        what: how to call the known ones, for example `known kinds`.
    """
    names = sorted(set(known))
    near = nearest(word, names)
    if near is not None:
        return f"did you mean {near}?"
    if names and len(names) <= _ENOUGH_TO_LIST:
        return f"{what}: {', '.join(names)}"
    return None
