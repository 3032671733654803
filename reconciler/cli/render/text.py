"""Plans and reports for terminals, with rich markup."""

from collections.abc import Iterator

from rich.markup import escape

from reconciler.cli.render import words
from reconciler.model.plan import Action, Change, FieldChange, Plan
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
        lines += [""] if subject.outcomes else []
        for outcome in subject.outcomes:
            lines += _outcome(outcome)
        lines += _report_end(subject)
    else:
        for change in plan.changes:
            lines += ["", *_change(change)]
        lines += [
            "",
            f"[bold]Plan:[/] {words.summary(plan)}. [dim]{plan.reads} reads made, about {plan.writes} writes to come.[/]",
        ]
    return words.harmless("\n".join(lines))


def _change(change: Change) -> Iterator[str]:
    yield _head(change, words.SIGNS[change.action], _COLOURS[change.action])
    for note in words.side_notes(change):
        yield f"    [dim]{escape(note)}[/]"
    for field in change.fields:
        yield _field(change, field)


def _head(change: Change, sign: str, colour: str) -> str:
    place = f"  [dim]{escape(str(change.source))}[/]" if change.source else ""
    what = f"{words.heading(change)} [dim]({change.cause.value})[/]"
    return f"[{colour}]{sign} {escape(str(change.key))}[/]  {what}{place}"


def _field(change: Change, field: FieldChange) -> str:
    path, after = escape(field.path), escape(words.value(field.after))
    place = words.place_within(change, field)
    if change.action is Action.CREATE:
        return f"    {path}: [green]{after}[/]  [dim]{escape(place)}[/]"
    before = escape(words.value(field.before))
    notes = [
        field.cause.value,
        place,
        words.since(field)[2:],
        f"stays: {field.held}" if field.held else "",
    ]
    note = escape(", ".join(note for note in notes if note))
    return f"    {path}: [red]{before}[/] → [green]{after}[/]  [dim]{note}[/]"


def _outcome(outcome: Outcome) -> Iterator[str]:
    """Write how a change ended: in a line, but for updates and what did not go well."""
    change, held = outcome.change, outcome.result is Result.HELD
    sign = words.SIGNS[change.action]
    yield _head(
        change,
        f"{words.RESULT_SIGNS[outcome.result]} {' ' if held else sign}",
        _RESULT_COLOURS[outcome.result],
    )
    if held:
        yield from (f"      [dim]{escape(note)}[/]" for note in words.side_notes(change))
    elif outcome.result is not Result.DONE:
        error = f": {escape(outcome.error)}" if outcome.error else ""
        yield f"      [{_RESULT_COLOURS[outcome.result]}]{outcome.result.value}{error}[/]"
    if change.action is Action.UPDATE:
        yield from (f"  {_field(change, field)}" for field in change.fields)
    for field in outcome.remaining:
        yield f"      [red]still differs:[/] {escape(field.path)} [dim]{escape(field.held or '')}[/]"


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
