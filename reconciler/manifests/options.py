"""The `reconcile:` mapping of a document."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reconciler.manifests.typed import problems_of
from reconciler.model.desired import Document, DriftPolicy, Options
from reconciler.model.problems import Problem

KEY = "reconcile"


class ReconcileOptions(BaseModel):
    """How the reconciler treats a resource."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prune: bool = Field(default=True, description="Delete it when git no longer declares it.")
    drift: Literal["heal", "report"] | None = Field(
        None, description="What to do about changes behind git's back; the policy's by default."
    )
    ignore: list[str] = Field(
        [], description="Field paths that are neither compared nor written, such as paused."
    )
    suspend: bool = Field(default=False, description="Leave it entirely alone.")
    adopt: bool = Field(default=False, description="Take over a live object that differs.")
    previous_name: str | None = Field(
        None, min_length=1, description="Its name before, for renames."
    )


def options_of(document: Document) -> tuple[Options, list[Problem]]:
    """Read a document's options."""
    written: Any = document.value.get(KEY)
    if written is None:
        return Options(), []
    try:
        read = ReconcileOptions.model_validate(written)
    except ValidationError as error:
        found = problems_of(error, ReconcileOptions, lambda *path: document.at(KEY, *path))
        return Options(), list(found)
    options = Options(
        prune=read.prune,
        drift=None if read.drift is None else DriftPolicy(read.drift),
        ignore=tuple(read.ignore),
        suspend=read.suspend,
        adopt=read.adopt,
        previous_name=read.previous_name,
    )
    if read.previous_name is None or read.previous_name != document.value.get("name"):
        return options, []
    place = document.at(KEY, "previous_name")
    return options, [Problem(place, "previous_name is the name that it has now", "remove it")]


def for_generated(options: Options) -> Options:
    """Return the options of what a document brings along: those that are about the whole."""
    return Options(
        prune=options.prune, drift=options.drift, suspend=options.suspend, adopt=options.adopt
    )
