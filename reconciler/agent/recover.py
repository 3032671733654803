"""Recovering runs that no agent is at work on: claimed by one that is gone, or lost by ourselves.

`decide` is the rule, pure. What makes it safe when several agents look at one run: a run that was
never started is launched by one agent only, the leader (`Peers`), and the leader's own start is
fenced like any other. Attaching twice does no harm: it only watches.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import TypedDict

from reconciler.agent.claim import launch_token
from reconciler.agent.context import Context
from reconciler.agent.presence import Claimant, Peers, host_digest
from reconciler.agent.spec import build
from reconciler.api.runs import FlowRun
from reconciler.infrastructure import Launcher
from reconciler.infrastructure.base import NotLaunchable
from reconciler.model.launch import Found, Sought


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
        bound: only agents of one host can reach its infrastructure.
        found: what the launcher knows under the token.
        leader: we lead the pool.
        host_leader: we lead the agents of this host.
        host_lives: another host, where its handle is, has a living agent.
        overdue: that host has been without an agent for longer than `lost_after`.
    """

    running: bool
    claimant: Claimant
    handled: bool
    bound: bool
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
        wanted, one = Recovery.ATTACH, sight.bound
    elif sight.running or (sight.found is None and sight.handled):
        # It had a handle, but its mark is gone: it may have been started.
        wanted, one = Recovery.LOST, sight.bound
    else:
        wanted, one = Recovery.LAUNCH, sight.bound and sight.handled
    leads = sight.host_leader if one else sight.leader
    return wanted if sight.claimant is Claimant.ME or leads else Recovery.LEAVE


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
    """Look at a run that we are not at work on; None if it is no agent's of ours.

    None also says that its infrastructure is another host's matter, whoever claimed it.

    A run that is being cancelled counts as a running one.

    Raises:
        Transient: its platform does not answer; the next look may tell.
    """
    running = run.state.type != "PENDING"
    foreign = run.pid is not None and context.owner_of(run.pid) is None
    sight = Sight(
        running=running,
        claimant=Claimant.GONE,
        handled=run.pid is not None,
        bound=True,
        here=not foreign,
        found=None,
        leader=peers.i_lead,
        host_leader=peers.i_lead_my_host,
        **_fate(context, peers, run, _host_of_process(run) if foreign else None),
    )
    if foreign and decide(sight) is Recovery.LEAVE:
        return None  # before the token is asked for: spares a request
    token = await launch_token(context.api, run.id) if running else run.state.transition_id
    claimant = peers.who(token)
    if token is None or claimant is Claimant.STRANGER:
        return None
    if claimant is Claimant.ALIVE:
        return Finding(run, token, Recovery.LEAVE)
    sight = replace(sight, claimant=claimant)
    if foreign:
        away = _fate(context, peers, run, _host_of_process(run) or peers.claimed_on(token))
        return Finding(run, token, decide(replace(sight, **away)))
    return await _search(context, peers, run, token, sight)


async def _search(
    context: Context, peers: Peers, run: FlowRun, token: str, sight: Sight
) -> Finding:
    """Ask the launcher that made it; one that is bound to another host has nobody to be asked."""
    launcher, sought = await sought_at(context, token, run)
    if launcher is None:
        return Finding(run, token, decide(sight))
    host = peers.claimed_on(token)
    if launcher.host_bound and not launcher.local and host not in {None, peers.my_host}:
        away = replace(sight, here=False, **_fate(context, peers, run, host))
        return Finding(run, token, decide(away), None, launcher)
    found = await launcher.find(sought)
    sight = replace(sight, bound=launcher.host_bound, found=found)
    return Finding(run, token, decide(sight), found, launcher)


async def sought_at(context: Context, token: str, run: FlowRun) -> tuple[Launcher | None, Sought]:
    """Return the launcher that made a run's infrastructure, and what to ask it for.

    The deployment tells; where it is gone or was changed meanwhile, the handle does.
    """
    try:
        spec, launcher = await build(context, run, token, None)
    except NotLaunchable:
        owner = None if run.pid is None else context.owner_of(run.pid)
        return owner, Sought(token, run.id, run.pid)
    if run.pid is not None and not launcher.owns(run.pid):
        return context.owner_of(run.pid), Sought(token, run.id, run.pid)
    return launcher, Sought(token, run.id, run.pid, spec.settings)


def _host_of_process(run: FlowRun) -> str | None:
    """Return the digest of the host in a local process's handle, `<host name>:<pid>`."""
    host, _, number = (run.pid or "").rpartition(":")
    return host_digest(host) if number.isdigit() and "/" not in host else None


class _Fate(TypedDict):
    host_lives: bool
    overdue: bool


def _fate(context: Context, peers: Peers, run: FlowRun, host: str | None) -> _Fate:
    """Tell whether a host lives, and whether it has been without an agent for too long."""
    seen: datetime | None = (peers.host_seen(host) if host else None) or run.state.timestamp
    limit = timedelta(seconds=context.options.lost_after_seconds)
    overdue = seen is not None and context.api.now() - seen > limit
    return {"host_lives": host is not None and peers.host_lives(host), "overdue": overdue}
