"""Reading an automation from a document, or from a deployment's `triggers`; offline."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from reconciler.model.automations import (
    ACTIONS_FIELDS,
    Complaint,
    action_problems,
    linked,
    trigger_problems,
)
from reconciler.model.desired import Document, Parsed
from reconciler.model.keys import Key
from reconciler.model.problems import Problem
from reconciler.model.records import Record, declared, read_record, text_at
from reconciler.model.values import Value

KIND = "Automation"
_FORBIDDEN = re.compile(r"[/\x00-\x1f]")


class AutomationFields(Record):
    """The fields of an automation."""

    released: ClassVar[frozenset[str]] = frozenset({"enabled"})

    trigger: dict[str, Any] = Field(
        description="What it waits for: type event (the default), compound or sequence; an absent"
        " key means Prefect's default."
    )
    actions: list[dict[str, Any]] = Field(
        min_length=1,
        description="What it does. A deployment, block, work_pool or work_queue goes by name.",
    )
    actions_on_trigger: list[dict[str, Any]] = Field(
        default_factory=list, description="More, when it triggers."
    )
    actions_on_resolve: list[dict[str, Any]] = Field(
        default_factory=list, description="More, when what triggered it is over."
    )
    description: str = Field(default="", description="For people.")
    enabled: bool = Field(default=True, description="Whether it is at work.")
    tags: list[str] = Field(default_factory=list, description="Tags; Prefect 3 only.")


def automation_key(document: Document) -> Key | Problem:
    """Return the key that a document names, or what is wrong with its name."""
    name = text_at(document, "name", KIND)
    if isinstance(name, str) and _FORBIDDEN.search(name):
        return Problem(document.at("name"), "name may not hold slashes or control characters")
    return name if isinstance(name, Problem) else Key.of("automation", name)


def parse_automation(document: Document) -> Parsed:
    """Check a document offline and declare; names in actions become references."""
    key = automation_key(document)
    fields, problems = read_record(document, KIND, AutomationFields, ("name",))
    found = [*problems, *_inner_problems(document)]
    if isinstance(key, Problem):
        return Parsed(problems=(key, *found))
    if found:
        return Parsed(problems=tuple(found))
    [made] = declared(key, fields, document).declarations
    told = {name: _linked(name, value) for name, value in made.fields.items()}
    return Parsed((replace(made, fields=told),))


def _inner_problems(document: Document) -> list[Problem]:
    found: list[Complaint] = []
    if "trigger" in document.value:
        found += trigger_problems(document.value["trigger"], ("trigger",))
    for name in ACTIONS_FIELDS:
        found += action_problems(document.value.get(name), (name,))
    return [Problem(document.at(*at), text, hint) for at, text, hint in found]


def _linked(name: str, value: Value) -> Value:
    if name not in ACTIONS_FIELDS or not isinstance(value, list):
        return value
    return [linked(one) if isinstance(one, Mapping) else one for one in value]
