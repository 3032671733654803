"""What `reconciler up` does and tells, in plain words."""

import signal
import sys
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from rich.markup import escape

from reconciler.agent.observer import AgentEvent, Happening
from reconciler.app import local
from reconciler.app.agent import AgentListeners
from reconciler.app.local import RunEnd
from reconciler.cli import console
from reconciler.cli.exits import DONE, FAILED
from reconciler.cli.render import words
from reconciler.cli.work import begin
from reconciler.controller.follow import Reconciled
from reconciler.errors import Refused, UsageError
from reconciler.model.report import Outcome, Report, Result
from reconciler.model.wishes import Location, Wishes

_COLOURS = {Happening.ENDED: "green", Happening.PROBLEM: "red", Happening.STOPPING: "yellow"}
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
    url = app.settings.connection.api_url
    if not manner.embedded and url is not None and not manner.yes and not is_loopback(url):
        await _ask_first(url)
    stop = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(stop_on_signal, stop, group.cancel_scope)
        code = FAILED
        if manner.embedded or url is None:
            console.say("Starting a Prefect server of our own …")
        async with local.server(app, embedded=manner.embedded) as (connection, running):
            console.say(f"[green]✓[/] Prefect API at [bold]{escape(str(connection.api_url))}[/]")
            if running is not None:
                console.say(f"  its pages: {running.ui}")
            listeners = AgentListeners(tell_agent, tell_output)
            async with local.local(app, connection, where, wishes, listeners) as everything:
                if manner.once:
                    ends = await everything.once(tell_turn, stop, manner.timeout)
                    code = _report(ends)
                else:
                    await everything.run(None if where.repo else where.path, Teller(where), stop)
                    code = DONE
        group.cancel_scope.cancel()
    return code


async def stop_on_signal(stop: anyio.Event, scope: anyio.CancelScope) -> None:
    """Set `stop` at the first signal, cancel at the second."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            if stop.is_set():
                scope.cancel()
                return
            console.say(
                "\nStopping: no new runs, and those under way get time to end. Again to stop at once."
            )
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
    answer = await anyio.to_thread.run_sync(console.err().input, question)
    if answer.strip().lower() != "yes":
        raise Refused("declined; nothing was changed", hint="--embedded runs a server of its own")


class Teller:
    """Tells of turns, and at the first good one how to go on."""

    def __init__(self, where: Location) -> None:
        self._where = where
        self._first = True

    def __call__(self, turn: Reconciled) -> None:
        """Tell of a turn."""
        tell_turn(turn)
        if self._first and turn.report is not None:
            self._first = False
            place = self._where.repo or self._where.path
            console.say(
                f"Watching [bold]{escape(place)}[/]: edit a file, and it is applied. Ctrl-C stops."
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
        f"  [{colour}]{sign} {escape(str(change.key))}[/] {words.heading(change)} [dim]{escape(why)}[/]"
    )


def tell_agent(event: AgentEvent) -> None:
    """Tell of something that the agent did."""
    colour = _COLOURS.get(event.what, "cyan")
    if event.what is Happening.ENDED and event.state != "COMPLETED":
        colour = "red"
    console.say(f"[{colour}]●[/] {escape(event.text)}")


def tell_output(run_id: str, line: str) -> None:
    """Pass on a line of a flow run."""
    console.say(f"  [dim]{run_id[:8]} │[/] {escape(line)}")


def _report(ends: list[RunEnd]) -> int:
    good = all(end.state == "COMPLETED" for end in ends)
    for end in ends:
        colour = "green" if end.state == "COMPLETED" else "red"
        message = f": {escape(end.message)}" if end.message and end.state != "COMPLETED" else ""
        console.out().print(
            f"[{colour}]{end.state:<10}[/] {escape(end.deployment)}  [dim]{escape(end.name)}[/]{message}"
        )
    if not ends:
        console.out().print("No flow run ended.")
    return DONE if ends and good else FAILED
