"""The `triggers` of a deployment: each is an automation that starts a run of it.

Source: what `prefect deploy` of 2.20.26 and 3.8.8 makes of them (read and tried). Prefect remembers
that such automations belong to the deployment, and `prefect deploy` replaces them all; ours belong to
the inventory instead, so an unchanged one keeps its id and what it has counted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from reconciler.model.automation_document import parse_automation
from reconciler.model.automations import EXAMPLE
from reconciler.model.deployment_document import TRIGGERS
from reconciler.model.desired import Declaration, Document, Parsed
from reconciler.model.keys import Key
from reconciler.model.places import Place
from reconciler.model.problems import Problem
from reconciler.model.values import Value

_OF_THE_AUTOMATION = ("name", "description", "enabled")
_OF_THE_RUN = ("parameters", "job_variables", "schedule_after")
_POSTURE = "Reactive"
"""Of an event trigger that does not say it (Prefect's client adds it; its server wants it)."""


def parse_triggers(document: Document, key: Key) -> Parsed:
    """Read the triggers of a deployment's document, in any of its shapes; offline."""
    triggers = document.value.get(TRIGGERS)
    if triggers is None:
        return Parsed()
    if not isinstance(triggers, list):
        place = document.at(TRIGGERS)
        return Parsed(problems=(Problem(place, "triggers must be a list", f"each {EXAMPLE}"),))
    declarations: list[Declaration] = []
    problems: list[Problem] = []
    for index, trigger in enumerate(triggers):
        if not isinstance(trigger, Mapping):
            place = document.at(TRIGGERS, index)
            problems.append(Problem(place, "a trigger must be a mapping", EXAMPLE))
            continue
        parsed = parse_automation(_automation(document, key, index, trigger))
        problems += parsed.problems
        declarations += [replace(one, generated=True) for one in parsed.declarations]
    return Parsed(tuple(declarations), tuple(problems))


def _automation(document: Document, key: Key, index: int, trigger: Mapping[str, Value]) -> Document:
    """Return the document of the automation that a trigger means."""
    run = {
        "type": "run-deployment",
        "source": "selected",
        "deployment": "/".join(key.parts),
        **_some(trigger, _OF_THE_RUN),
    }
    apart = (*_OF_THE_AUTOMATION, *_OF_THE_RUN)
    value = {
        "kind": "Automation",
        "name": f"{key.name}__automation_{index + 1}",
        **_some(trigger, _OF_THE_AUTOMATION),
        "trigger": _complete({k: v for k, v in trigger.items() if k not in apart}),
        "actions": [run],
    }
    return Document(value, document.at(TRIGGERS, index), dict(_places(document, index)))


def _some(trigger: Mapping[str, Value], names: tuple[str, ...]) -> dict[str, Value]:
    return {name: trigger[name] for name in names if trigger.get(name) is not None}


def _complete(trigger: Mapping[str, Value]) -> dict[str, Value]:
    """Say what Prefect's client would: the type by the keys, and the posture."""
    made = dict(trigger)
    inner = made.get("triggers")
    if "type" not in made:
        composite = "compound" if "require" in made else "sequence"
        made["type"] = "event" if inner is None else composite
    if isinstance(made["type"], str) and made["type"] == "event":
        made.setdefault("posture", _POSTURE)
    if isinstance(inner, list):
        made["triggers"] = [_complete(one) if isinstance(one, Mapping) else one for one in inner]
    return made


def _places(document: Document, index: int) -> Iterator[tuple[tuple[str | int, ...], Place]]:
    here = (TRIGGERS, index)
    for path, place in document.places.items():
        if path[:2] != here:
            continue
        inner = path[2:]
        if not inner or inner[0] in _OF_THE_AUTOMATION:
            yield inner, place
        elif inner[0] in _OF_THE_RUN:
            yield ("actions", 0, *inner), place
        else:
            yield ("trigger", *inner), place
    yield ("trigger",), document.at(*here)
    yield ("actions",), document.at(*here)
