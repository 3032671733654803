"""JSON patches (RFC 6902) that a block puts over a request."""

from collections.abc import Mapping, Sequence
from typing import Any

import jsonpatch

from reconciler.blocks.sense import patch_fault
from reconciler.infrastructure.base.contract import NotLaunchable


def patched(field: str, operations: Sequence[Mapping[str, Any]], document: dict[str, Any]) -> Any:
    """Return a document with operations applied, one by one, so that a fault can be named.

    Args:
        field: the setting that has the operations.
        operations: of RFC 6902.
        document: left as it is.

    Raises:
        NotLaunchable: which operation can't be applied, and why; nothing of the document is shown,
            since it holds credentials.
    """
    made: Any = document
    for number, operation in enumerate(operations):
        where = f"{field}[{number}]"
        why = patch_fault(operation)
        if why is not None:
            raise NotLaunchable(f"{where} is no operation of a JSON patch: {why}")
        where += f" ({operation['op']} {operation['path']})"
        try:
            made = jsonpatch.JsonPatch([operation]).apply(made)
        except jsonpatch.JsonPatchTestFailed:
            raise NotLaunchable(f"{where}: the value there is another one") from None
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError):
            raise NotLaunchable(f"{where}: there is no such place") from None
    return made
