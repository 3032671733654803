"""Environments: which variables, patches and folders `--env` chooses. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from reconciler.model.desired import Document
from reconciler.model.keys import Key
from reconciler.model.near import did_you_mean
from reconciler.model.places import Place
from reconciler.model.policy import Environment, Policy, Target
from reconciler.model.values import Value


@dataclass(frozen=True, slots=True)
class Choice:
    """A policy with one environment applied.

    Attributes:
        policy: with the environment's variables merged in.
        environment: what was chosen; empty without `--env`.
        folders: those of other environments only; their manifests are left out.
    """

    policy: Policy
    environment: Environment
    folders: tuple[str, ...]


class UnknownEnvironmentError(LookupError):
    """There is no such environment. `hint` names those that there are."""

    def __init__(self, name: str, known: Mapping[str, Environment]) -> None:
        super().__init__(f"there is no environment {name!r}")
        self.hint = did_you_mean(name, known, what="known environments") or (
            "define it below `environments:`" if not known else None
        )


def choose(policy: Policy, name: str | None) -> Choice:
    """Apply an environment to a policy.

    Raises:
        UnknownEnvironmentError: the policy has none of this name.
    """
    if name is not None and name not in policy.environments:
        raise UnknownEnvironmentError(name, policy.environments)
    chosen = Environment() if name is None else policy.environments[name]
    ours = {folder(path) for path in chosen.paths}
    others = {folder(path) for env in policy.environments.values() for path in env.paths} - ours
    merged = merge_patch(policy.vars, chosen.vars)
    assert isinstance(merged, dict)  # noqa: S101 - a patch that is a mapping gives one
    return Choice(policy.model_copy(update={"vars": merged}), chosen, tuple(sorted(others)))


def folder(path: str) -> str:
    """Return a folder's path as the files of a tree begin with it."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def merge_patch(value: Value, patch: Value) -> Value:
    """Apply a merge patch (RFC 7396): null removes a key, a list replaces a list."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(value) if isinstance(value, Mapping) else {}
    for key, inner in patch.items():
        if inner is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), inner)
    return merged


def selects(target: Target, kind: str, keys: tuple[Key, ...], value: Mapping[str, Value]) -> bool:
    """Tell whether a target selects a document; every word that it gives must fit."""
    tags = value.get("tags")
    return (
        (target.kind is None or target.kind == kind)
        and (target.key is None or any(key.matches(target.key) for key in keys))
        and (target.tag is None or (isinstance(tags, list) and target.tag in tags))
    )


def patched(
    document: Document, patch: Mapping[str, Value], places: Mapping[tuple[Any, ...], Place]
) -> Document:
    """Return a document with a patch merged in; what the patch gives has the patch's places."""
    value = merge_patch(document.value, patch)
    assert isinstance(value, dict)  # noqa: S101 - a patch that is a mapping gives one
    given = {path: place for path, place in places.items() if not _mapping_at(patch, path)}
    return replace(document, value=value, places={**document.places, **given})


def _mapping_at(value: Value, path: tuple[Any, ...]) -> bool:
    for step in path:
        if not isinstance(value, Mapping) or step not in value:
            return False
        value = value[step]
    return isinstance(value, Mapping)
