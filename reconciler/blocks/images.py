"""References of container images."""

import re

_REFERENCE = re.compile(
    r"""(?:[a-zA-Z0-9.-]+(?::\d+)?/)?             # registry
        [a-z0-9]+(?:[._/-]+[a-z0-9]+)*            # path
        (?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?   # tag
        (?:@[a-z0-9+._-]+:[0-9a-fA-F]{32,})?      # digest
    """,
    re.VERBOSE,
)


def is_reference(image: str) -> bool:
    """Tell whether a text can be the reference of an image (the grammar of distribution/reference)."""
    return _REFERENCE.fullmatch(image) is not None
