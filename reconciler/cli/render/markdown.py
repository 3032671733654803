"""Plans and reports as Markdown for pull requests: folded, bounded, without any HTML of values.

GitHub takes comments of up to 65,536 characters, GitLab of a million; what goes beyond the smaller
is cut, with counts.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.cli.render import words
from reconciler.model.plan import Change, Plan
from reconciler.model.problems import Problem, Severity
from reconciler.model.report import Outcome, Report

LIMIT = 60_000
MARKER = "<!-- reconciler -->"
_FAILED = "<!-- failed -->"
_TICKS = re.compile("`+")
_BOLD = re.compile(r"\*\*(.+)\*\*")
_MOST_PROBLEMS = 100


def write(subject: Plan | Report) -> str:
    """Write a plan or report."""
    plan = words.plan_of(subject)
    outcomes = words.outcomes_of(subject)
    head = [MARKER, f"### Reconciler: {_text(words.title(plan))}", "", f"**{_sum(subject)}**", ""]
    head += [f"> ⚠️ {_text(notice)}" for notice in plan.notices]
    sections = ["\n".join(_section(change, outcomes.get(change.key))) for change in plan.changes]
    return _fit("\n".join(head), sections, plan)


def problems(found: Sequence[Problem]) -> str:
    """Write the problems of manifests, from which no plan can be made."""
    errors = sum(one.severity is Severity.ERROR for one in found)
    head = f"{words.counted(errors, 'problem')}: nothing of this revision would be applied"
    lines = [MARKER, _FAILED, "### Reconciler: no plan", "", f"**{head}**", ""]
    for one in found[:_MOST_PROBLEMS]:
        hint = f" ({_text(one.hint)})" if one.hint else ""
        lines.append(f"- {_code(str(one.place))} {_text(one.message)}{hint}")
    if len(found) > _MOST_PROBLEMS:
        lines.append(f"- … and {len(found) - _MOST_PROBLEMS} more: run `reconciler validate`")
    return words.harmless("\n".join([*lines, ""]))[:LIMIT]


def nothing(link: str | None) -> str:
    """Write that there is no plan, and where to read why."""
    log = "the job's log" if link is None else f"[the job's log]({link})"
    return f"### Reconciler: no plan\n\n**No plan could be made.** Why is in {log}.\n"


@dataclass(frozen=True, slots=True)
class Gist:
    """What a plan that was written says in a sentence.

    Attributes:
        failed: there is no plan.
        text: the sentence.
    """

    failed: bool
    text: str


def gist(written: str) -> Gist:
    """Read the gist of what `write` or `problems` wrote."""
    found = next(filter(None, map(_BOLD.fullmatch, written.splitlines())), None)
    text = "" if found is None else found[1]
    return Gist(_FAILED in written.splitlines()[:3], text or "see the comment")


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
