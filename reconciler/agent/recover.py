"""Recovering runs that no agent is at work on: claimed by one that is gone, or lost by ourselves.

`decide` is the rule, pure. What makes it safe when several agents look at one run: a run that was
never started is launched by one agent only, the leader (`Peers`), and the leader's own start is
fenced like any other. Attaching twice does no harm: it only watches.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from reconciler.agent.claim import launch_token
from reconciler.agent.context import Context
from reconciler.agent.presence import Claimant, Peers
from reconciler.api.runs import FlowRun
from reconciler.infrastructure import Launcher
from reconciler.model.launch import Found


class Recovery(Enum):
    """What to do about a run."""

    LEAVE = "leave"
    ATTACH = "attach"  # it was started here: watch it, or finish it if it has ended
    LAUNCH = "launch"  # claimed, never started: launch it under its token
    LOST = "lost"  # on a host whose agents are all gone: mark it crashed


@dataclass(frozen=True, slots=True)
class Sight:
    """What one agent knows of one claimed run.

    Attributes:
        running: the state is RUNNING (else PENDING).
        claimant: who made its token.
        here: its infrastructure, if it has a handle, can be reached from here.
        handled: it has a handle.
        found: what the launcher knows under the token.
        leader: we lead the pool.
        host_leader: we lead the agents of this host.
        host_lives: another host, where its handle is, has a living agent.
        overdue: that host has been without an agent for longer than `lost_after`.
    """

    running: bool
    claimant: Claimant
    handled: bool
    here: bool
    found: Found | None
    leader: bool
    host_leader: bool
    host_lives: bool
    overdue: bool


def decide(sight: Sight) -> Recovery:
    """Decide what to do about a run that we are not at work on."""
    if sight.claimant in {Claimant.STRANGER, Claimant.ALIVE}:
        return Recovery.LEAVE
    if sight.handled and not sight.here:
        return _elsewhere(sight)
    if sight.found is not None and sight.found.started:
        return Recovery.ATTACH if _may_touch(sight, sight.host_leader) else Recovery.LEAVE
    if sight.running:
        return _vanished(sight)
    if sight.found is None and sight.handled:
        # It had a handle here, but its mark is gone: it may have been started.
        return _vanished(sight)
    leads = sight.host_leader if sight.handled else sight.leader
    return Recovery.LAUNCH if _may_touch(sight, leads) else Recovery.LEAVE


def _may_touch(sight: Sight, leads: bool) -> bool:  # noqa: FBT001
    return sight.claimant is Claimant.ME or leads


def _vanished(sight: Sight) -> Recovery:
    return Recovery.LOST if _may_touch(sight, sight.host_leader) else Recovery.LEAVE


def _elsewhere(sight: Sight) -> Recovery:
    """Only agents of that host can tell whether it was started; without any, it is lost."""
    if sight.host_lives or not sight.leader:
        return Recovery.LEAVE
    if sight.running and not sight.overdue:
        return Recovery.LEAVE
    return Recovery.LOST


@dataclass(frozen=True, slots=True)
class Finding:
    """A decision about a run, with what it needs."""

    run: FlowRun
    token: str
    what: Recovery
    found: Found | None = None
    launcher: Launcher | None = None


async def look(context: Context, peers: Peers, run: FlowRun) -> Finding | None:
    """Look at a run that we are not at work on; None if there is nothing to do about it.

    A run that is being cancelled counts as a running one.
    """
    elsewhere = run.pid is not None and context.owner_of(run.pid) is None
    running = run.state.type != "PENDING"
    token = run.state.transition_id
    sight = Sight(
        running=running,
        claimant=Claimant.GONE,
        handled=run.pid is not None,
        here=not elsewhere,
        found=None,
        leader=peers.i_lead,
        host_leader=peers.i_lead_my_host,
        host_lives=peers.host_lives(_host(run)),
        overdue=_overdue(context, peers, run),
    )
    if elsewhere and decide(sight) is Recovery.LEAVE:
        return None  # whoever claimed it: spares the question
    if running:
        token = await launch_token(context.api, run.id)
    claimant = peers.who(token)
    if token is None or claimant in {Claimant.STRANGER, Claimant.ALIVE}:
        return None
    found, launcher = (None, None) if elsewhere else await find(context, token, run)
    what = decide(replace(sight, claimant=claimant, found=found))
    return Finding(run, token, what, found, launcher)


async def find(context: Context, token: str, run: FlowRun) -> tuple[Found | None, Launcher | None]:
    """Look a launch up at every launcher that could have made it."""
    owner = None if run.pid is None else context.owner_of(run.pid)
    for launcher in context.launchers.values() if owner is None else (owner,):
        found = await launcher.find(token, run.id)
        if found is not None:
            return found, launcher
    return None, owner


def _host(run: FlowRun) -> str:
    return (run.pid or "").rpartition(":")[0]


def _overdue(context: Context, peers: Peers, run: FlowRun) -> bool:
    seen: datetime | None = peers.host_seen(_host(run)) or run.state.timestamp
    limit = timedelta(seconds=context.options.lost_after_seconds)
    return seen is not None and context.api.now() - seen > limit
