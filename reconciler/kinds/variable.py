"""The kind Variable: `variable/<name>`.

Prefect 2.20 holds text of up to 5,000 characters under names of [a-z0-9_]; 3.x any JSON, and
dashes in names (tried on 2.20.26 and 3.8.8).
"""

import json
import re
from typing import Any, ClassVar

from pydantic import Field

from reconciler.kinds.base.record import Raw, RecordKind
from reconciler.model.desired import Declaration, Document
from reconciler.model.keys import Key
from reconciler.model.problems import Problem
from reconciler.model.records import Record, text_at
from reconciler.model.server import ServerFacts
from reconciler.model.values import revealed

_NAME = re.compile(r"[a-z0-9_-]+")
_LONGEST = 5000


class VariableFields(Record):
    """See the module's text."""

    value: Any = Field(description="Its value: text on Prefect 2.20, any JSON on 3.x.")
    tags: list[str] = Field(default_factory=list, description="Tags, to find it by.")


class Variable(RecordKind):
    """Variables."""

    name: ClassVar[str] = "Variable"
    prefix: ClassVar[str] = "variable"
    example: ClassVar[str] = """\
kind: Variable
name: region
value: eu-central-1
tags: [shop]
"""
    fields: ClassVar[type[Record]] = VariableFields
    path: ClassVar[str] = "/variables"
    renames: ClassVar[str] = "variable/*"

    def key_of(self, document: Document) -> Key | Problem:
        """Its name."""
        name = text_at(document, "name", self.name)
        if isinstance(name, Problem):
            return name
        if not _NAME.fullmatch(name):
            made = re.sub(r"[^a-z0-9_-]+", "_", name.lower()).strip("_")
            return Problem(
                document.at("name"),
                "name may hold lower-case letters, digits, underscores and dashes only",
                f"for example {made}" if made else None,
            )
        return Key.of(self.prefix, name)

    def key_of_live(self, raw: Raw) -> Key | None:
        """Its name."""
        return Key.of(self.prefix, raw["name"])

    def misfits(self, declaration: Declaration, facts: ServerFacts) -> tuple[Problem, ...]:
        """Name what this version can't hold."""
        return tuple(_misfits(declaration, facts))


def _misfits(declaration: Declaration, facts: ServerFacts) -> list[Problem]:
    value, place = revealed(declaration.fields.get("value")), declaration.at("value")
    problems = []
    if facts.is_v2 and not isinstance(value, str):
        problems.append(
            Problem(place, f"{facts} holds text only in a variable", "write the JSON in quotes")
        )
    if facts.is_v2 and "-" in declaration.key.name:
        name = declaration.key.name.replace("-", "_")
        problems.append(
            Problem(
                declaration.at("name"),
                f"{facts} takes no dashes in names of variables",
                f"for example {name}",
            )
        )
    if len(value if isinstance(value, str) else json.dumps(value)) > _LONGEST:
        problems.append(Problem(place, f"a variable holds up to {_LONGEST} characters"))
    return problems
