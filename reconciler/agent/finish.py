"""Ends: what becomes of a run's state when its infrastructure is gone, or never came to be.

Only PENDING, RUNNING and CANCELLING are ever left behind by an end (DESIGN 7.5). A run that is
scheduled again (a retry), paused or suspended goes on without its process.
"""

from datetime import timedelta

from reconciler.agent.context import ActiveRun, Context, Stop
from reconciler.agent.observer import AgentEvent, Happening
from reconciler.api.runs import FlowRun, RunState, Verdict, propose, read_run
from reconciler.infrastructure import Launcher
from reconciler.infrastructure.base import NotLaunchable, NotStarted
from reconciler.model.launch import Ended, Handle

_LONGEST_LINE = 500
"""Characters of a line of output in a state's message; the run's log has all of them."""

_WORDS = {
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CRASHED": "crashed",
    "CANCELLED": "was cancelled",
    "PAUSED": "was paused",
    "SCHEDULED": "was scheduled again",
}


async def finish(
    context: Context, active: ActiveRun, launcher: Launcher, handle: Handle, ended: Ended
) -> None:
    """Bring a run whose infrastructure ended into the state that tells so."""
    run = await read_run(context.api, active.run.id)
    if run is None:
        return _told(context, active, None, "was deleted")
    state = run.state
    # An engine answers SIGTERM by reporting a crash, 3.8.8 even over CANCELLING (tried).
    overtaken = state.type == "CRASHED" and run.pid == handle.pid
    if run.cancelling or (overtaken and active.stop.reason == Stop.CANCEL):
        if active.stop.reason is None:
            # It ended before we knew of the wish, and its processes may outlive it.
            await launcher.stop(handle, context.options.grace_seconds)
        state = await mark_cancelled(context, run)
    elif _unfinished(run, handle):
        # Its processes may outlive it; whoever retries the run must not meet them.
        await launcher.stop(handle, context.options.grace_seconds)
        state = await crash(context, run, _reason(active, ended))
    elif overtaken and active.stop.reason == Stop.DRAIN:
        state = await crash(context, run, _reason(active, ended), force=True)
    return _told(context, active, state)


async def mark_cancelled(context: Context, run: FlowRun) -> RunState:
    """Set CANCELLED; the infrastructure must be gone by now."""
    wanted = RunState("CANCELLED", "Cancelled", message="The flow run was stopped and cancelled.")
    # The old way of asking is a final state already, which only force can leave (facts).
    force = run.state.type == "CANCELLED"
    return _now(await propose(context.api, run.id, wanted, force=force), run)


async def crash(context: Context, run: FlowRun, message: str, *, force: bool = False) -> RunState:
    """Set CRASHED with the reason that people need."""
    wanted = RunState("CRASHED", "Crashed", message=message)
    return _now(await propose(context.api, run.id, wanted, force=force), run)


async def fail(context: Context, active: ActiveRun, error: NotLaunchable) -> None:
    """Set FAILED: what is declared can't be built; or CRASHED: the platform did not give it."""
    run = await read_run(context.api, active.run.id)
    if run is None or run.state.type != "PENDING" or run.state.transition_id != active.token:
        return
    message = f"The flow run could not be launched: {error.message}"
    crashed = isinstance(error, NotStarted)
    kind, name = ("CRASHED", "Crashed") if crashed else ("FAILED", "Failed")
    verdict = await propose(context.api, run.id, RunState(kind, name, message=message))
    _told(context, active, _now(verdict, run), f"could not be launched: {error.message}")


async def back_to_queue(context: Context, run: FlowRun, message: str) -> None:
    """Put a claimed run that was not started back into its queue: the last resort.

    The next write of its deployment may delete it there (facts: auto-scheduled runs).
    """
    wanted = RunState("SCHEDULED", "Scheduled", message=message, scheduled_time=context.api.now())
    await propose(context.api, run.id, wanted)
    context.tell(Happening.REQUEUED, run, f"Put flow run {run.name} back into its queue")


def _unfinished(run: FlowRun, handle: Handle) -> bool:
    """Tell whether the run waits for the end of this very infrastructure."""
    if run.state.type == "PENDING":
        return run.state.transition_id == handle.token
    return run.state.type == "RUNNING" and run.pid in {None, handle.pid}


def _reason(active: ActiveRun, ended: Ended) -> str:
    if active.stop.reason == Stop.DRAIN:
        return "The agent stopped, and with it this flow run's process."
    text = f"The flow run's infrastructure ended before the run did: {ended.reason}."
    if not ended.last_lines:
        return text
    return "\n".join((text, "Its last lines:", *map(_shown, ended.last_lines)))


def _shown(line: str) -> str:
    """Return a line as a state's message can hold it: PostgreSQL takes no U+0000 in a text."""
    cut = line if len(line) <= _LONGEST_LINE else line[:_LONGEST_LINE] + "…"
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in cut)


def _now(verdict: Verdict | None, run: FlowRun) -> RunState:
    return run.state if verdict is None else verdict.state


def _told(
    context: Context, active: ActiveRun, state: RunState | None, words: str | None = None
) -> None:
    kind = None if state is None else state.type
    seconds = context.clock.monotonic() - active.began
    if words is None:
        words = f"{_WORDS.get(kind or '', f'ended as {kind}')} after {_duration(seconds)}"
        if kind == "CRASHED" and state is not None and state.message:
            words += f": {state.message.splitlines()[0]}"
    run = active.run
    context.observe(
        AgentEvent(
            Happening.ENDED,
            f"Flow run {run.name} {words}",
            run.id,
            run.name,
            kind,
            seconds,
            active.infrastructure,
            run.pid,
        )
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))  # noqa: PLR2004
