"""The story of one flow run: claim → launch spec → create → record handle → start → watch → finish."""

from dataclasses import replace
from functools import partial

import anyio

from reconciler.agent.claim import Claim, claim, fair, holds
from reconciler.agent.code import Checkout
from reconciler.agent.context import ActiveRun, Context, Stop
from reconciler.agent.finish import back_to_queue, fail, finish
from reconciler.agent.observer import Happening
from reconciler.agent.spec import build
from reconciler.api.runs import record_pid
from reconciler.errors import NotFound, Transient
from reconciler.infrastructure import Launcher
from reconciler.infrastructure.base import NotLaunchable
from reconciler.model.launch import Ended, Handle, LaunchSpec, Sought
from reconciler.runtime.backoff import Backoff
from reconciler.runtime.supervision import race

_LOST_ANSWER = Backoff(first=1.0, ceiling=8.0)
_STARTS = 4
"""So often is a start said again whose answer was lost."""


async def run_flow(context: Context, active: ActiveRun) -> None:
    """Take a due run from its claim to its end; another agent's claim ends the story at once."""
    checkout = await context.code.take(active.run.id)
    message = _message(context, checkout)
    answer = await claim(context.api, active.run.id, active.token, message)
    if answer is Claim.OURS and await fair(context.api, active.run.id, active.token):
        context.tell(Happening.CLAIMED, active.run, f"Claimed flow run {active.run.name}")
        await launch(context, active, checkout)


async def relaunch(context: Context, active: ActiveRun) -> None:
    """Launch a run that an agent claimed and did not start."""
    if await fair(context.api, active.run.id, active.token):
        await launch(context, active, await context.code.take(active.run.id))


async def launch(context: Context, active: ActiveRun, checkout: Checkout | None) -> None:
    """Launch a claimed run under its token, unless that was done, and see it through."""
    try:
        spec, launcher = await build(context, active.run, active.token, checkout)
        active.local, active.infrastructure = launcher.local, launcher.slug
        sought = Sought(active.token, active.run.id, active.run.pid, spec.settings)
        found = await launcher.find(sought)
        if found is not None and found.started:
            handle = found.handle
        else:
            started = await _create_and_start(context, active, launcher, spec)
            if started is None:
                return
            handle = started
    except NotLaunchable as error:
        await fail(context, active, error)
        return
    await attend(context, active, launcher, handle)


async def _create_and_start(
    context: Context, active: ActiveRun, launcher: Launcher, spec: LaunchSpec
) -> Handle | None:
    """Make, record, start; None if it must not start after all. What isn't started is removed."""
    handle = await launcher.create(spec)
    start = False
    try:
        await _record(context, active, handle)
        start = await _may_start(context, active)
    finally:
        if not start:
            await _undo(launcher, handle)
    if not start:
        if active.stop.reason == Stop.DRAIN:
            reason = "The agent stopped before the run was started."
            await back_to_queue(context, active.run, reason)
        return None
    handle = await _start(context, active, launcher, spec, handle)
    text = f"Flow run {active.run.name} started ({handle.pid})"
    late = None if active.run.due is None else (context.api.now() - active.run.due).total_seconds()
    context.tell(
        Happening.STARTED,
        active.run,
        text,
        infrastructure=launcher.slug,
        seconds=None if late is None else max(0.0, late),
    )
    return handle


async def _start(
    context: Context, active: ActiveRun, launcher: Launcher, spec: LaunchSpec, handle: Handle
) -> Handle:
    """Start; where the answer is lost, look whether it started, and say it again if not.

    Whoever removed it instead, and launched anew, would execute twice a flow that was running.

    Raises:
        NotLaunchable: nothing was started; what was made is removed.
        Transient: nobody knows; all is left as it is, and the next survey looks for it.
    """
    sought = Sought(active.token, active.run.id, handle.pid, spec.settings)
    delays = _LOST_ANSWER.delays()
    for last in (False,) * _STARTS + (True,):
        try:
            return await launcher.start(handle)
        except NotLaunchable:
            await _undo(launcher, handle)
            raise
        except Transient:
            if last:
                raise
            await context.clock.sleep(next(delays))
            found = await launcher.find(sought)
            if found is not None and found.started:
                return found.handle
            if found is None or not await _may_start(context, active):
                raise
    raise AssertionError  # the last round returns or raises


async def _undo(launcher: Launcher, handle: Handle) -> None:
    """Remove what was made and not started."""
    with anyio.CancelScope(shield=True):
        await launcher.stop(handle, 0)
        await launcher.discard(handle)


async def attend(context: Context, active: ActiveRun, launcher: Launcher, handle: Handle) -> None:
    """Watch a started run until it ends, stop it where that is wished, and finish it."""
    active.local, active.infrastructure = launcher.local, launcher.slug
    await _record(context, active, handle)
    ended = await _watch(context, active, launcher, handle)
    if ended is None:
        return  # remote infrastructure runs on; the next agent attaches to it
    await finish(context, active, launcher, handle, ended)
    await launcher.discard(handle)


async def _watch(
    context: Context, active: ActiveRun, launcher: Launcher, handle: Handle
) -> Ended | None:
    await race(partial(launcher.ended, handle), active.stop.wished)
    if active.stop.reason == Stop.DRAIN and not launcher.local:
        return None
    if active.stop.reason is not None:
        text = f"Stopping flow run {active.run.name} and all that it started"
        context.tell(Happening.STOPPING, active.run, text)
        await launcher.stop(handle, context.options.grace_seconds)
    return await launcher.ended(handle)


async def _record(context: Context, active: ActiveRun, handle: Handle) -> None:
    """Record a handle as soon as it is known, unless it is on record."""
    if handle.pid in {None, active.run.pid}:
        return
    try:
        await record_pid(context.api, active.run.id, handle.pid or "")
    except NotFound:
        active.stop.wish(Stop.CANCEL)  # deleted meanwhile: there is nothing left to run
    active.run = replace(active.run, pid=handle.pid)


async def _may_start(context: Context, active: ActiveRun) -> bool:
    """Ask directly before the start whether the run is still ours (DESIGN 7.3).

    The check of our presence comes last and takes no time: under the name that we had at the claim,
    and with a fresh heartbeat, nobody can have taken the run over, however long the question took.
    """
    still = await holds(context.api, active.run.id, active.token)
    if not context.presence.fresh:
        await context.presence.beat()
    return (
        still
        and context.presence.fresh
        and context.presence.worker == active.worker
        and active.stop.reason is None
    )


def _message(context: Context, checkout: Checkout | None) -> str:
    code = "" if checkout is None else f"; flow code of commit {checkout.revision}"
    return f"Claimed by agent {context.presence.worker}{code}."
