"""The story of one reconciliation. Read this first.

    snapshot = source.fetch()             a verified tree
    desired  = load(snapshot)             every document checked, or every problem at once
    observed = observe(desired)           what is live, what we own, what deletes would take along
    plan     = build(desired, observed)   pure: no network, git, clock or environment
    report   = apply(plan)                level by level; each write is read back

A dry run means that `apply` was not called.

A service that has done this once need not look at everything for each revision: `reconcile_touched`
looks at what a revision touches, and gives way to the whole story wherever that can't be enough.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import anyio.to_thread

from reconciler.api.client import Api
from reconciler.engine import narrow
from reconciler.engine.access import Access
from reconciler.engine.apply import Progress, apply, held, silent
from reconciler.engine.inventory import InventoryStore
from reconciler.engine.inventory import forget as forget_entry
from reconciler.engine.lease import TTL, Lease
from reconciler.engine.lease import unlock as free_lease
from reconciler.engine.narrow import Known
from reconciler.engine.observe import observe
from reconciler.engine.plan import PlanOptions, build, nothing_desired
from reconciler.errors import InvalidManifests, StalePlan
from reconciler.kinds.base import Kind, Session
from reconciler.manifests.load import LoadOptions, load
from reconciler.manifests.policy import read_policy
from reconciler.manifests.resolve import UnknownEnvironmentError, choose
from reconciler.model.desired import DesiredState
from reconciler.model.keys import Key
from reconciler.model.live import Observed
from reconciler.model.plan import Plan
from reconciler.model.problems import Problem
from reconciler.model.report import Report
from reconciler.model.snapshot import Snapshot
from reconciler.model.wishes import Wishes
from reconciler.runtime.clock import Clock


@dataclass(frozen=True)
class Desk:
    """What a reconciliation works with.

    Attributes:
        api: the server.
        kinds: the resource kinds.
        clock: for the lease.
        holder: our name on the lease.
        lease_seconds: without a sign of life, after which we count as dead.
    """

    api: Api
    kinds: Sequence[Kind]
    clock: Clock
    holder: str
    lease_seconds: float = TTL


Permit = Callable[[Plan], Awaitable[None]]


@dataclass(frozen=True)
class Planned:
    """A plan together with what it was made of, so that it can be applied.

    Attributes:
        plan: what is to be done.
        declared: the desired state as git has it.
        desired: the same in the server's form.
        observed: what was live.
        access: the way to the server, with the session in which all this was seen.
        options: what the user asked for.
    """

    plan: Plan
    declared: DesiredState
    desired: DesiredState
    observed: Observed
    access: Access
    options: PlanOptions


def read(snapshot: Snapshot, options: LoadOptions, kinds: Sequence[Kind]) -> DesiredState:
    """Check a tree. CPU only: run it in a thread.

    Raises:
        InvalidManifests: it has problems.
    """
    return load(snapshot, options, kinds)


def read_policy_only(snapshot: Snapshot, options: LoadOptions) -> DesiredState:
    """Check `reconciler.yaml` alone, for what must work while manifests are broken.

    Raises:
        InvalidManifests: the policy has problems, or lacks the environment.
    """
    file = read_policy(options.policy_from or snapshot, options.limits)
    problems = list(file.problems)
    try:
        choose(file.policy, options.environment)
    except UnknownEnvironmentError as error:
        problems.append(Problem(file.at("environments"), str(error), error.hint))
    if problems:
        raise InvalidManifests(sorted(problems))
    return nothing_desired(file.policy, snapshot.origin)


async def reconcile_once(
    desk: Desk, snapshot: Snapshot, options: LoadOptions, wishes: Wishes
) -> Report:
    """Take a tree all the way.

    Raises:
        InvalidManifests: nothing of it was applied.
        ReconcilerError: the server could not be read, or another writer is at work.
    """
    desired = await anyio.to_thread.run_sync(read, snapshot, options, desk.kinds)
    planned = await make_plan(desk, desired, wishes)
    return await carry_out(desk, planned, wishes)


async def make_plan(desk: Desk, desired: DesiredState, wishes: Wishes) -> Planned:
    """Look at the server and say what is to be done.

    Raises:
        InvalidManifests: the server can't hold what is declared.
        ReconcilerError: the server can't be read.
    """
    return await _plan(desk, desired, plan_options(wishes), wishes)


async def make_destroy_plan(desk: Desk, desired: DesiredState, wishes: Wishes) -> Planned:
    """Plan the end of all that the inventory owns."""
    nothing = nothing_desired(desired.policy, desired.origin)
    return await _plan(desk, nothing, replace(plan_options(wishes), destroy=True), wishes)


async def _plan(desk: Desk, desired: DesiredState, options: PlanOptions, wishes: Wishes) -> Planned:
    access = _access(desk, desired, wishes)
    conformed, observed = await observe(desired, access, options)
    plan = await anyio.to_thread.run_sync(build, conformed, observed, options)
    return Planned(plan, desired, conformed, observed, access, options)


def _access(desk: Desk, desired: DesiredState, wishes: Wishes) -> Access:
    session = Session(desk.api, secrets=wishes.secrets)
    store = InventoryStore(desk.api, inventory_name(desired, wishes), secrets=wishes.secrets)
    return Access.of(session, desk.kinds, store, desk.clock)


async def reconcile_touched(
    desk: Desk, desired: DesiredState, wishes: Wishes, known: Known, ready: Permit
) -> tuple[Report, Known] | None:
    """Take a revision all the way, looking only at what it touches.

    Args:
        desk: what to work with.
        desired: the revision.
        wishes: what the user asked for.
        known: from the last look.
        ready: called with the plan, under the lease, before anything is written; raises if it must
            not be.

    Returns:
        What was done, and what is known after it; None, with nothing written, if it takes a whole
        look.

    Raises:
        InvalidManifests: the server can't hold what is declared.
        LeaseHeld: another writer is at work.
        ReconcilerError: the server can't be read.
    """
    session = replace(known.session, cache={})
    store = InventoryStore(desk.api, inventory_name(desired, wishes), secrets=wishes.secrets)
    access = Access.of(session, desk.kinds, store, desk.clock)
    keys = None if wishes.targets else narrow.touched(known, desired, access.rules())
    if keys is None:
        return None
    if not keys:
        report = held(narrow.nothing(known, desired, store.name, session.facts))
        await ready(report.plan)
        return report, known.after(desired, report)
    async with _lease(desk, store.name, wishes) as lease:
        found = await narrow.observe(desired, access, known, keys)
        if found is None:
            return None
        conformed, observed = found
        plan = build(conformed, observed, plan_options(wishes))
        plan = narrow.told(plan, known, desired, keys)
        await ready(plan)
        report = (
            await apply(plan, conformed, observed, access, lease) if plan.effective else held(plan)
        )
    return report, known.after(desired, report)


def known_after(planned: Planned, report: Report) -> Known | None:
    """Return what a whole look and its apply leave behind for the next one; None if too little."""
    if not report.converged or report.plan is not planned.plan:
        return None
    session = replace(planned.access.session, cache={})
    foreign = dict(planned.observed.foreign)
    shards = planned.access.store.shards
    return Known(planned.declared, session, foreign, shards, narrow.left_apart(report))


async def carry_out(
    desk: Desk,
    planned: Planned,
    wishes: Wishes,
    *,
    progress: Progress = silent,
    confirmed: bool = False,
    permit: Permit | None = None,
) -> Report:
    """Apply a plan under the lease. A plan that does nothing takes none and writes nothing.

    The exception is `--take-over`: then the inventory itself is written, to name its new tree.

    Args:
        desk: what to work with.
        planned: from `make_plan`.
        wishes: how long to wait for another writer.
        progress: told of each outcome.
        confirmed: somebody looked at exactly this plan; no other one may be applied in its place.
        permit: asked once we hold the lease, before anything is written; raises if it must not be.

    Raises:
        LeaseHeld: another writer is at work.
        StalePlan: another writer was, and the plan is not what was confirmed.
    """
    if not planned.plan.effective and not planned.access.store.taken_over:
        return held(planned.plan)
    async with _lease(desk, planned.access.store.name, wishes) as lease:
        if permit is not None:
            await permit(planned.plan)
        try:
            return await _apply(planned, lease, progress)
        except StalePlan:
            if confirmed:
                raise
        # Another writer was at work between our look and our lease.
        fresh = await _plan(desk, planned.declared, planned.options, wishes)
        if permit is not None:
            await permit(fresh.plan)
        return await _apply(fresh, lease, progress)


async def _apply(planned: Planned, lease: Lease, progress: Progress) -> Report:
    return await apply(
        planned.plan, planned.desired, planned.observed, planned.access, lease, progress
    )


def _lease(desk: Desk, inventory: str, wishes: Wishes) -> Lease:
    wait, ttl = wishes.lock_timeout, desk.lease_seconds
    return Lease(desk.api, desk.clock, inventory, desk.holder, wait=wait, ttl=ttl)


async def forget(desk: Desk, desired: DesiredState, wishes: Wishes, key: Key) -> None:
    """Drop a resource from the inventory; the live object stays.

    Raises:
        UsageError: the inventory does not own it.
        LeaseHeld: another writer is at work.
    """
    store = _access(desk, desired, wishes).store
    async with _lease(desk, store.name, wishes) as lease:
        await store.load()
        lease.check()
        await forget_entry(store, key)


async def unlock(desk: Desk, desired: DesiredState, wishes: Wishes) -> str | None:
    """Free the lease of a dead holder, and return its name; None if nobody holds it.

    Raises:
        LeaseHeld: the holder lives.
    """
    freed = await free_lease(desk.api, inventory_name(desired, wishes))
    return None if freed is None else str(freed.get("holder", "somebody"))


def require_same(planned: Planned, digest: str) -> None:
    """Refuse a plan that is not the one that was looked at.

    Raises:
        StalePlan: manifests or live state moved.
    """
    if planned.plan.digest != digest:
        raise StalePlan(
            "manifests or live objects have changed since the plan was made",
            hint="make a new plan, look at it, and apply that one",
        )


def inventory_name(desired: DesiredState, wishes: Wishes) -> str:
    """Return `<name>` or `<name>.<environment>`."""
    name = desired.policy.name
    return f"{name}.{wishes.environment}" if wishes.environment else name


def plan_options(wishes: Wishes) -> PlanOptions:
    """Translate what the user asked for."""
    return PlanOptions(
        targets=wishes.targets,
        allow_deletes=wishes.allow_deletes,
        allow_cascade=wishes.allow_cascade,
        adopt=wishes.adopt,
        only_drift=wishes.only_drift,
        take_over=wishes.take_over,
        environment=wishes.environment or "",
    )
