"""What the types of single fields can't tell about a block's data: fields that don't go together."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reconciler.blocks.images import is_reference
from reconciler.blocks.kubernetes_base import base_manifest

Found = tuple[tuple[str | int, ...], str]
"""Path below `data`, and what is wrong there."""

_MEMBERS = {"add": "value", "replace": "value", "test": "value", "move": "from", "copy": "from"}
"""What an operation needs beside its path; the library notices it only when it is applied."""
_PATCHES = ("customizations", "task_customizations")


def senseless(slug: str, data: Mapping[str, Any]) -> Iterator[Found]:
    """Yield what is wrong with data whose fields are each right by themselves.

    Args:
        slug: of a shipped block type.
        data: plain values, brought into the form of their fields; references are left out.
    """
    image = data.get("image")
    if isinstance(image, str) and not is_reference(image):
        yield ("image",), f"image {image!r} is no reference of a container image"
    for name in _PATCHES:
        yield from _patch(name, data.get(name) or ())
    check = _CHECKS.get(slug)
    if check is not None:
        yield from check(data)


def patch_fault(operation: Any) -> str | None:
    """Return why something is no operation of a JSON patch (RFC 6902); None if it is one."""
    import jsonpatch  # noqa: PLC0415 - a start that needs none of it is quicker

    try:
        jsonpatch.JsonPatch([operation])
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError) as error:
        return str(error)
    needed = _MEMBERS.get(operation["op"])
    if needed is not None and needed not in operation:
        return f"{operation['op']} needs {needed!r}"
    return None


def _patch(name: str, operations: Any) -> Iterator[Found]:
    for number, operation in enumerate(operations):
        why = patch_fault(operation)
        if why is not None:
            text = f"{name}[{number}] is no operation of a JSON patch: {why}"
            yield (name, number), text


def _docker(data: Mapping[str, Any]) -> Iterator[Found]:
    if data.get("networks") and data.get("network_mode"):
        yield ("network_mode",), "networks and network_mode exclude each other"
    for number, volume in enumerate(data.get("volumes") or ()):
        if ":" not in volume:
            yield ("volumes", number), f"volume {volume!r} must be host path:container path"


def _kubernetes(data: Mapping[str, Any]) -> Iterator[Found]:
    try:
        base_manifest(data.get("job"))
    except ValueError as error:
        yield ("job",), str(error)


def _cloud_run(data: Mapping[str, Any]) -> Iterator[Found]:
    if data.get("memory") is not None and data.get("memory_unit") is None:
        yield ("memory",), "memory needs memory_unit: G, Gi, M or Mi"


def _azure(data: Mapping[str, Any]) -> Iterator[Found]:
    for name in ("cpu", "memory"):
        if name in data and data[name] <= 0:
            yield (name,), f"{name} must be more than 0"
    if (data.get("gpu_count") is None) != (data.get("gpu_sku") is None):
        given = "gpu_count" if data.get("gpu_count") is not None else "gpu_sku"
        yield (given,), "gpu_count and gpu_sku need each other"


_CHECKS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[Found]]] = {
    "docker-container": _docker,
    "kubernetes-job": _kubernetes,
    "cloud-run-job": _cloud_run,
    "azure-container-instance-job": _azure,
}
