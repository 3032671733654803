"""The base manifest of a Kubernetes job block: what a flow run needs of it. Pure.

Prefect 2.20.26 refused a manifest that lacks a part of its own base; here it is filled in, and only
what is set otherwise is refused (facts/infrastructure-blocks.md).
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

CONTAINER = "prefect-job"
_FIXED: tuple[tuple[tuple[str, ...], Any, str], ...] = (
    (("apiVersion",), "batch/v1", ""),
    (("kind",), "Job", ""),
    (("spec", "parallelism"), 1, "a flow run is one pod"),
    (("spec", "completions"), 1, "a flow run is one pod"),
    (("spec", "template", "spec", "restartPolicy"), "Never", "a flow run must not run twice"),
)


def base_manifest(job: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a block's `job` with what Prefect's base manifest has filled in.

    Raises:
        ValueError: it has no container, or runs a flow otherwise than once; the message says where.
    """
    manifest: dict[str, Any] = deepcopy(dict(job)) if job is not None else {}
    manifest.setdefault("apiVersion", "batch/v1")
    manifest.setdefault("kind", "Job")
    metadata = mapping_at(manifest, "metadata")
    mapping_at(metadata, "labels", "metadata.")
    spec = mapping_at(manifest, "spec")
    template = mapping_at(spec, "template", "spec.")
    pod = mapping_at(template, "spec", "spec.template.")
    for misplaced in ("parallelism", "completions"):
        value = pod.pop(misplaced, 1)
        spec.setdefault(misplaced, value)
    spec.setdefault("backoffLimit", 0)
    pod.setdefault("restartPolicy", "Never")
    if job is None:
        pod["containers"] = [{"name": CONTAINER}]
    check_manifest(manifest, "job")
    container = pod["containers"][0]
    container.setdefault("name", CONTAINER)
    container.setdefault("env", [])
    return manifest


def mapping_at(place: dict[str, Any], key: str, where: str = "") -> dict[str, Any]:
    """Return the mapping under a key, made if it is missing.

    Raises:
        ValueError: something else is there.
    """
    value = place.setdefault(key, {})
    if not isinstance(value, dict):
        raise ValueError(f"job: {where}{key} is no mapping")  # noqa: TRY004 - about a value
    return value


def check_manifest(manifest: Mapping[str, Any], source: str) -> None:
    """Check what a flow run can't do without.

    Args:
        manifest: to check.
        source: the setting that made it so.

    Raises:
        ValueError: something is missing or set otherwise.
    """
    for path, wanted, why in _FIXED:
        if _at(manifest, path) != wanted:
            reason = f" ({why})" if why else ""
            raise ValueError(f"{source}: {'.'.join(path)} must be {wanted!r}{reason}")
    containers = _at(manifest, ("spec", "template", "spec", "containers"))
    if not isinstance(containers, list) or not containers or not isinstance(containers[0], dict):
        raise ValueError(f"{source}: spec.template.spec.containers has no container")
    if containers[0].get("name", CONTAINER) != CONTAINER:
        raise ValueError(f"{source}: the first container must be named {CONTAINER!r}")


def _at(manifest: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    place: Any = manifest
    for step in path:
        place = place.get(step) if isinstance(place, Mapping) else None
    return place
