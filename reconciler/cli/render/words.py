"""The words and signs that all formats share."""

import json
from collections.abc import Iterator
from typing import Any

from reconciler.model.keys import Key
from reconciler.model.plan import Action, Change, FieldChange, Plan
from reconciler.model.report import Outcome, Report, Result
from reconciler.model.values import ABSENT

SIGNS = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.DELETE: "-",
    Action.ADOPT: "=",
    Action.BLOCKED: "!",
}

RESULT_SIGNS = {Result.DONE: "✓", Result.FAILED: "✗", Result.SKIPPED: "↷", Result.HELD: "!"}

_CONTROL = {
    code: "\N{REPLACEMENT CHARACTER}"
    for code in (
        *range(0x20),
        *range(0x7F, 0xA0),
        *range(0x202A, 0x202F),  # overrides of the writing direction show a text in another order
        *range(0x2066, 0x206A),
    )
    if chr(code) not in "\t\n"
}

# What a cause in brackets says by itself.
_SAID = frozenset({"git declares it", "git changed", "git no longer declares it"})

LONGEST = 400
"""Characters of a value that are shown."""


def harmless(text: str) -> str:
    """Make visible what would steer a terminal or turn text round: some of it is the server's."""
    return text.translate(_CONTROL)


def plan_of(subject: Plan | Report) -> Plan:
    """Return the plan in a plan or report."""
    return subject.plan if isinstance(subject, Report) else subject


def outcomes_of(subject: Plan | Report) -> dict[Key, Outcome]:
    """Return the outcomes by key; empty for a plan."""
    return {} if isinstance(subject, Plan) else {o.change.key: o for o in subject.outcomes}


def value(shown: Any) -> str:
    """Write a value in one line."""
    if shown is ABSENT or shown is None:
        return "null" if shown is None else "(not set)"
    mark = isinstance(shown, str) and shown.startswith("<") and shown.isprintable()
    text = shown if mark else json.dumps(shown, ensure_ascii=False, default=str, sort_keys=True)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"


def title(plan: Plan) -> str:
    """Name a plan."""
    where = f"{plan.inventory} ({plan.environment})" if plan.environment else plan.inventory
    revision = f", revision {short(plan.revision)}" if plan.revision else ""
    return f"{where} on {plan.server}{revision}"


def short(revision: str) -> str:
    """Shorten a revision as git does, keeping what follows a plus sign."""
    head, plus, rest = revision.partition("+")
    if head.startswith("sha256:"):
        return head[:19]
    return head[:10] + (f"+{rest[:16]}" if plus else "")


def summary(plan: Plan) -> str:
    """Sum a plan up in a sentence."""
    counts = [
        (plan.count(Action.CREATE), "to create"),
        (plan.count(Action.UPDATE), "to update"),
        (plan.count(Action.DELETE), "to delete"),
        (plan.count(Action.ADOPT), "to adopt"),
        (plan.count(Action.BLOCKED), "held back"),
    ]
    parts = [f"{n} {what}" for n, what in counts if n] or ["nothing to do"]
    return ", ".join([*parts, f"{plan.unchanged} in step"])


def result_summary(report: Report) -> str:
    """Sum a report up in a sentence."""
    words = {
        Result.DONE: "done",
        Result.FAILED: "failed",
        Result.SKIPPED: "skipped",
        Result.HELD: "held back",
    }
    counts = {r: sum(o.result is r for o in report.outcomes) for r in Result}
    parts = [f"{counts[r]} {words[r]}" for r in Result if counts[r]] or ["nothing to do"]
    return ", ".join([*parts, f"{report.plan.unchanged} in step"])


def counted(number: int, noun: str) -> str:
    """Write a number of things: `1 file`, `2 files`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def heading(change: Change) -> str:
    """Say what happens to a resource, in a word or two."""
    if change.action is Action.BLOCKED:
        return f"held: {change.wanted.value}" if change.wanted else "held"
    return change.action.value


def side_notes(change: Change) -> Iterator[str]:
    """Yield reason and effects, if there are any; not what the cause has said already."""
    if change.reason and change.reason not in _SAID:
        yield change.reason
    yield from change.effects


def place_within(change: Change, field: FieldChange) -> str:
    """Return the place of a field; in the file of the resource itself only line and column."""
    if field.source is None:
        return ""
    same = change.source is not None and change.source.file == field.source.file
    return f"line {field.source.line}" if same else str(field.source)


def field_note(field: FieldChange) -> str:
    """Say cause and place of a field's difference."""
    place = f", {field.source}" if field.source else ""
    held = f"; stays: {field.held}" if field.held else ""
    return f"{field.cause.value}{place}{since(field)}{held}"


def since(field: FieldChange) -> str:
    """Say when a drift was first seen, where that is known."""
    return f", first seen {field.first_seen:%Y-%m-%d %H:%M} UTC" if field.first_seen else ""
