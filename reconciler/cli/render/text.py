"""Plans and reports for terminals, with rich markup."""

from collections.abc import Iterator

from rich.markup import escape

from reconciler.cli.render import words
from reconciler.model.plan import Action, Change, Plan
from reconciler.model.report import Outcome, Report, Result

_COLOURS = {
    Action.CREATE: "green",
    Action.UPDATE: "yellow",
    Action.DELETE: "red",
    Action.ADOPT: "cyan",
    Action.BLOCKED: "magenta",
}
_RESULT_COLOURS = {
    Result.DONE: "green",
    Result.FAILED: "red",
    Result.SKIPPED: "yellow",
    Result.HELD: "magenta",
}


def write(subject: Plan | Report) -> str:
    """Write a plan or report."""
    plan = words.plan_of(subject)
    lines = [f"[bold]{escape(words.title(plan))}[/]"]
    lines += [f"[yellow]![/] {escape(notice)}" for notice in plan.notices]
    if isinstance(subject, Report):
        for outcome in subject.outcomes:
            lines += _change(outcome.change, outcome)
        lines += _report_end(subject)
    else:
        for change in plan.changes:
            lines += _change(change, None)
        lines += [
            "",
            f"[bold]Plan:[/] {words.summary(plan)}. [dim]{plan.reads} reads made, about {plan.writes} writes to come.[/]",
        ]
    return words.harmless("\n".join(lines))


def _change(change: Change, outcome: Outcome | None) -> Iterator[str]:
    colour = _COLOURS[change.action]
    place = f"  [dim]{escape(str(change.source))}[/]" if change.source else ""
    yield ""
    yield f"[{colour}]{words.SIGNS[change.action]} {escape(str(change.key))}[/]  {words.heading(change)} [dim]({change.cause.value})[/]{place}"
    for note in words.side_notes(change):
        yield f"    [dim]{escape(note)}[/]"
    for field in change.fields:
        after = escape(words.value(field.after))
        if change.action is Action.CREATE:
            yield f"    {escape(field.path)}: [green]{after}[/]  [dim]{escape(str(field.source or ''))}[/]"
            continue
        before = escape(words.value(field.before))
        yield f"    {escape(field.path)}: [red]{before}[/] → [green]{after}[/]  [dim]{escape(words.field_note(field))}[/]"
    if outcome is not None:
        yield from _outcome(outcome)


def _outcome(outcome: Outcome) -> Iterator[str]:
    colour = _RESULT_COLOURS[outcome.result]
    error = f": {escape(outcome.error)}" if outcome.error else ""
    yield f"    [{colour}]{words.RESULT_SIGNS[outcome.result]} {outcome.result.value}{error}[/]"
    for field in outcome.remaining:
        yield f"    [red]still differs:[/] {escape(field.path)} [dim]{escape(field.held or '')}[/]"


def _report_end(report: Report) -> Iterator[str]:
    yield ""
    if report.error:
        yield f"[bold red]Stopped:[/] {escape(report.error)}"
    colour = "green" if report.converged else "red"
    yield f"[bold {colour}]Apply:[/] {words.result_summary(report)}. {_state(report)}."


def _state(report: Report) -> str:
    if not report.converged:
        return "Prefect does not match the manifests yet"
    if any(outcome.result is Result.HELD for outcome in report.outcomes):
        return "But for what is held back, Prefect matches the manifests"
    return "Prefect matches the manifests"
