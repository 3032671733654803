"""What `reconciler up` does and tells, in plain words."""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import anyio
from rich.markup import escape

from reconciler.agent.observer import AgentEvent, Happening
from reconciler.api.embedded import require_prefect
from reconciler.app import local
from reconciler.app.agent import AgentListeners
from reconciler.app.local import RunEnd
from reconciler.cli import console
from reconciler.cli.begin import begin
from reconciler.cli.exits import DONE, FAILED
from reconciler.cli.prompt import ask
from reconciler.cli.render import words
from reconciler.controller.follow import Reconciled
from reconciler.errors import InvalidManifests, Refused, UsageError
from reconciler.model.plan import Action, Change
from reconciler.model.report import Outcome, Report, Result
from reconciler.model.wishes import Location, Wishes

_COLOURS = {Happening.ENDED: "green", Happening.PROBLEM: "red", Happening.STOPPING: "yellow"}
_MOST_FIELDS = 8
_MOST_CHARACTERS = 60
_RESULT_COLOURS = {
    Result.DONE: "green",
    Result.FAILED: "red",
    Result.SKIPPED: "yellow",
    Result.HELD: "magenta",
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How to go about it: the options of `up`."""

    embedded: bool
    once: bool
    yes: bool
    timeout: float


async def up(where: Location, wishes: Wishes, manner: Manner, verbose: int) -> int:
    """Run it; return the exit code."""
    app = begin(verbose)
    await app.source(where).fetch()  # a wrong path is said before anything starts
    url = app.settings.connection.api_url
    if not manner.embedded and url is not None and not manner.yes and not is_loopback(url):
        await _ask_first(url)
    stop = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(stop_on_signal, stop, group.cancel_scope)
        code = FAILED
        if manner.embedded or url is None:
            require_prefect()
            console.say("Starting a Prefect server of our own …")
        async with local.server(app, embedded=manner.embedded) as (connection, running):
            console.say(f"[green]✓[/] Prefect API at [bold]{escape(str(connection.api_url))}[/]")
            if running is not None:
                console.say(f"  its pages: {running.ui}")
            voice = Voice()
            listeners = AgentListeners(voice.event, voice.output)
            async with local.local(
                app, connection, where, wishes, listeners, once=manner.once
            ) as everything:
                if manner.once:
                    code = _report(await everything.once(tell_turn, stop, manner.timeout))
                else:
                    await everything.run(None if where.repo else where.path, Teller(where), stop)
                    code = DONE
        group.cancel_scope.cancel()
    return code


def _say_stopping() -> None:
    console.say(
        "\nStopping: no new runs, and those under way get time to end. Again to stop at once."
    )


async def stop_on_signal(
    stop: anyio.Event, scope: anyio.CancelScope, tell: Callable[[], None] = _say_stopping
) -> None:
    """Set `stop` at the first signal and tell of it, cancel at the second."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            if stop.is_set():
                scope.cancel()
                return
            tell()
            stop.set()


def is_loopback(url: str) -> bool:
    """Tell whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def _ask_first(url: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            f"the configured API {url} is not on this machine, and there is no terminal to ask on",
            hint="--embedded runs a server of its own, --yes uses the configured one",
        )
    question = f"Apply to [bold]{escape(url)}[/] and run its flow runs here? Only 'yes' is a yes: "
    if (await ask(question)).lower() != "yes":
        raise Refused("declined; nothing was changed", hint="--embedded runs a server of its own")


class Teller:
    """Tells of turns, of a lasting trouble once, and at the first good one how to go on."""

    def __init__(self, where: Location) -> None:
        self._where = where
        self._first = True
        self._told: tuple[object, ...] = ()
        self._troubled = False

    def __call__(self, turn: Reconciled) -> None:
        """Tell of a turn."""
        news = _news(turn)
        if news != self._told or _acted(turn):
            tell_turn(turn)
        if self._troubled and _is_quiet(turn):
            console.say("[green]✓[/] All is well again: Prefect matches the manifests.")
        self._told, self._troubled = news, turn.error is not None
        if self._first and turn.report is not None:
            self._first = False
            place = self._where.repo or self._where.path
            console.say(
                f"Watching [bold]{escape(place)}[/]: edit a file, and it is applied. Ctrl-C stops."
            )


def _news(turn: Reconciled) -> tuple[object, ...]:
    """Return what would be told, without what differs at each turn."""
    error = turn.error
    problems = error.problems if isinstance(error, InvalidManifests) else ()
    report = turn.report
    told = () if report is None else (report.plan.revision, report.outcomes, report.error)
    return (None if error is None else error.message, problems, *told)


def _acted(turn: Reconciled) -> bool:
    return turn.report is not None and any(
        outcome.result is Result.DONE for outcome in turn.report.outcomes
    )


def tell_turn(turn: Reconciled) -> None:
    """Tell of one reconciliation; say nothing where nothing happened."""
    if turn.error is not None:
        console.explain(turn.error)
        if turn.report is not None:
            console.say("[yellow]![/] The last good revision stays in force.")
    if turn.report is None:
        return
    if turn.report.plan.changes or turn.fresh:
        _tell_report(turn.report)


def _is_quiet(turn: Reconciled) -> bool:
    """Tell whether a turn is a good one of which there is nothing to tell."""
    report = turn.report
    if report is None or turn.error is not None or turn.fresh:
        return False
    return report.converged and not report.plan.changes


def _tell_report(report: Report) -> None:
    revision = words.short(report.plan.revision)
    colour = "green" if report.converged else "red"
    sign = "✓" if report.converged else "✗"
    console.say(f"[{colour}]{sign}[/] Revision {escape(revision)}: {words.result_summary(report)}.")
    for notice in report.plan.notices:
        console.say(f"  [yellow]![/] {escape(notice)}")
    for outcome in report.outcomes:
        _tell_outcome(outcome)
    if report.error:
        console.say(f"  [red]{escape(report.error)}[/]")


def _tell_outcome(outcome: Outcome) -> None:
    change = outcome.change
    colour = _RESULT_COLOURS[outcome.result]
    why = outcome.error or (change.reason if outcome.result is Result.HELD else change.cause.value)
    sign = words.SIGNS[change.action]
    console.say(
        f"  [{colour}]{sign} {escape(str(change.key))}[/]  {words.heading(change)} [dim]({escape(why)})[/]"
    )
    if change.action is Action.UPDATE:
        _tell_fields(change)


def _tell_fields(change: Change) -> None:
    for field in change.fields[:_MOST_FIELDS]:
        before, after = (escape(_brief(side)) for side in (field.before, field.after))
        console.say(f"      {escape(field.path)}: [red]{before}[/] → [green]{after}[/]")
    if (more := len(change.fields) - _MOST_FIELDS) > 0:
        console.say(f"      [dim]and {more} more fields[/]")


def _brief(side: Any) -> str:
    text = words.value(side)
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"


class Voice:
    """Tells what the agent does, and passes on what flow runs write, under their names."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def event(self, event: AgentEvent) -> None:
        """Tell of something that the agent did."""
        if event.run_id and event.run_name:
            self._names[event.run_id] = event.run_name
        colour = _COLOURS.get(event.what, "cyan")
        if event.what is Happening.ENDED:
            self._names.pop(event.run_id or "", None)
            colour = "green" if event.state == "COMPLETED" else "red"
        console.say(f"[{colour}]●[/] {escape(event.text)}")

    def output(self, run_id: str, line: str) -> None:
        """Pass on a line of a flow run."""
        name = self._names.get(run_id, run_id[:8])
        console.say(f"  [dim]{escape(name)} │[/] {escape(line)}")


def _report(ends: list[RunEnd] | None) -> int:
    """Print how each run ended; return the exit code."""
    if ends is None:
        console.say("[red]Not everything could be applied, so no flow was run.[/]")
        return FAILED
    widths = [
        max((len(text) for text in column), default=0)
        for column in zip(*map(_cells, ends), strict=True)
    ]
    for end in ends:
        state, key, name = (f"{cell:<{w}}" for cell, w in zip(_cells(end), widths, strict=True))
        colour = "dim" if end.state is None else "green" if end.good else "red"
        last = f"[dim]{escape(name)}[/]  {escape(end.message)}"
        if end.state == "COMPLETED":
            last = f"[dim]{escape(end.name)}[/]"
        console.out().print(f"[{colour}]{state}[/]  {escape(key)}  {last}")
    if not ends:
        console.out().print("There is no deployment to run.")
    return DONE if all(end.good for end in ends) else FAILED


def _cells(end: RunEnd) -> tuple[str, str, str]:
    return end.state or "not run", end.deployment, end.name
