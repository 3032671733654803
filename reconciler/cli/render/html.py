"""Plans and reports as one self-contained HTML page, readable in light and dark."""

from collections.abc import Iterator
from html import escape

from reconciler.cli.render import words
from reconciler.model.plan import Change, Plan
from reconciler.model.report import Outcome, Report

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--dim:light-dark(#57606a,#9aa4b2)}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.3rem}details{border:1px solid var(--line);border-radius:.5rem;margin:.6rem 0;padding:.5rem .8rem}
summary{cursor:pointer;font-weight:600}table{border-collapse:collapse;width:100%;margin:.5rem 0}
th,td{text-align:left;padding:.25rem .5rem;border-top:1px solid var(--line);vertical-align:top}
code{font:13px ui-monospace,monospace;background:var(--soft);padding:.05rem .3rem;border-radius:.25rem;overflow-wrap:anywhere}
.dim{color:var(--dim)}.notice{border-left:4px solid #d29922;padding-left:.8rem}
"""


def write(subject: Plan | Report) -> str:
    """Write a plan or report."""
    plan = words.plan_of(subject)
    outcomes = words.outcomes_of(subject)
    total = words.result_summary(subject) if isinstance(subject, Report) else words.summary(subject)
    page = "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Reconciler: {escape(words.title(plan))}</title><style>{_STYLE}</style></head><body><main>",
            f"<h1>{escape(words.title(plan))}</h1><p><strong>{escape(total)}.</strong></p>",
            *(f'<p class="notice">{escape(notice)}</p>' for notice in plan.notices),
            *("\n".join(_change(change, outcomes.get(change.key))) for change in plan.changes),
            f'<p class="dim">{plan.reads} reads, about {plan.writes} writes. <code>{escape(plan.digest)}</code></p>',
            "</main></body></html>",
        ]
    )
    return words.harmless(page)


def _change(change: Change, outcome: Outcome | None) -> Iterator[str]:
    result = f" — {words.RESULT_SIGNS[outcome.result]} {outcome.result.value}" if outcome else ""
    yield f"<details open><summary>{words.SIGNS[change.action]} {escape(str(change.key))}: {words.heading(change)} ({change.cause.value}){result}</summary>"
    if change.source:
        yield f'<p class="dim"><code>{escape(str(change.source))}</code></p>'
    if outcome and outcome.error:
        yield f"<p><strong>{escape(outcome.error)}</strong></p>"
    for note in words.side_notes(change):
        yield f"<p>{escape(note)}</p>"
    if change.fields:
        yield "<table><thead><tr><th>field</th><th>before</th><th>after</th><th>cause</th></tr></thead><tbody>"
        for field in change.fields:
            cells = (
                f"<code>{escape(text)}</code>"
                for text in (field.path, words.value(field.before), words.value(field.after))
            )
            yield (
                "<tr>"
                + "".join(f"<td>{cell}</td>" for cell in cells)
                + f"<td>{escape(words.field_note(field))}</td></tr>"
            )
        yield "</tbody></table>"
    yield "</details>"
