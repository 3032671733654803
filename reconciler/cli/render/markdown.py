"""Plans and reports as Markdown for pull requests: folded, bounded, without any HTML of values.

GitHub takes comments of up to 65,536 characters, GitLab of a million; what goes beyond the smaller
is cut, with counts.
"""

import re
from collections.abc import Iterator

from reconciler.cli.render import words
from reconciler.model.plan import Change, Plan
from reconciler.model.report import Outcome, Report

LIMIT = 60_000
MARKER = "<!-- reconciler -->"
_TICKS = re.compile("`+")


def write(subject: Plan | Report) -> str:
    """Write a plan or report."""
    plan = words.plan_of(subject)
    outcomes = words.outcomes_of(subject)
    head = [MARKER, f"### Reconciler: {_text(words.title(plan))}", "", f"**{_sum(subject)}**", ""]
    head += [f"> ⚠️ {_text(notice)}" for notice in plan.notices]
    sections = ["\n".join(_section(change, outcomes.get(change.key))) for change in plan.changes]
    return _fit("\n".join(head), sections, plan)


def _sum(subject: Plan | Report) -> str:
    return words.result_summary(subject) if isinstance(subject, Report) else words.summary(subject)


def _section(change: Change, outcome: Outcome | None) -> Iterator[str]:
    result = f" — {words.RESULT_SIGNS[outcome.result]} {outcome.result.value}" if outcome else ""
    yield "<details>"
    yield f"<summary><b>{words.SIGNS[change.action]} {_html(str(change.key))}</b>: {words.heading(change)} ({change.cause.value}){result}</summary>"
    yield ""
    if change.source:
        yield f"Declared at {_code(str(change.source))}."
        yield ""
    if outcome and outcome.error:
        yield f"**{_text(outcome.error)}**"
        yield ""
    for note in words.side_notes(change):
        yield f"- {_text(note)}"
    if change.fields:
        yield from _table(change)
    yield "</details>"
    yield ""


def _table(change: Change) -> Iterator[str]:
    yield ""
    yield "| field | before | after | cause |"
    yield "|---|---|---|---|"
    for field in change.fields:
        yield f"| {_code(field.path)} | {_code(words.value(field.before))} | {_code(words.value(field.after))} | {_text(words.field_note(field))} |"
    yield ""


def _fit(head: str, sections: list[str], plan: Plan) -> str:
    foot = f"\n<sub>{plan.reads} reads; applying takes about {plan.writes} writes. Plan `{plan.digest[:23]}`.</sub>\n"
    text, used = [head], len(head) + len(foot) + 200
    for number, section in enumerate(sections):
        if used + len(section) > LIMIT:
            text.append(
                f"\n**… and {len(sections) - number} more changes.** Run `reconciler plan` to see all of them."
            )
            break
        text.append(section)
        used += len(section) + 1
    return words.harmless("\n".join([*text, foot]))


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text(text: str) -> str:
    """Escape what Markdown would take as markup, a mention or HTML."""
    for sign in "\\`*_[]|#":
        text = text.replace(sign, f"\\{sign}")
    return _html(text).replace("@", "&#64;").replace("\n", " ")


def _code(text: str) -> str:
    """Write text as code that stays inside its table cell: only a longer fence can't be closed."""
    longest = max((len(run) for run in _TICKS.findall(text)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    inner = text.replace("|", "\\|").replace("\n", " ")
    return f"{fence}{space}{inner}{space}{fence}"
