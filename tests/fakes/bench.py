"""One reconciliation after another on a `MemoryPrefect`: the words that engine tests are told in."""

from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.engine import apply as applying
from reconciler.engine.access import Access
from reconciler.engine.inventory import InventoryStore
from reconciler.engine.lease import Lease
from reconciler.engine.observe import observe
from reconciler.engine.plan import PlanOptions, build
from reconciler.errors import LeaseLost
from reconciler.kinds.base import Session
from reconciler.model.desired import Declaration, DesiredState, Options
from reconciler.model.fingerprint import Fingerprinter
from reconciler.model.keys import Key
from reconciler.model.places import Place
from reconciler.model.plan import Plan
from reconciler.model.policy import Policy
from reconciler.model.report import Report
from reconciler.model.snapshot import Origin
from reconciler.model.values import Masked, Secret
from tests.fakes.clock import VirtualClock
from tests.fakes.kinds import KINDS
from tests.fakes.manual_clock import ManualClock
from tests.fakes.prefect_memory import MemoryApi, MemoryPrefect

EVERYTHING = PlanOptions()
PLAIN = Options()
BLOCK = Key.of("block", "process", "base")
DEPLOYMENT = Key.of("deployment", "etl", "nightly")


def declare(key: Key, *, file: str = "things.yaml", options: Options = PLAIN, **fields):
    place = Place(file, 1, 1)
    return Declaration(key, fields, place, {name: Place(file, 2, 1) for name in fields}, options)


def tree(*declarations: Declaration, files: Any = None, **changes: Any) -> DesiredState:
    """A valid revision of these declarations."""
    found: dict[str, tuple[Key, ...]] = {}
    for declaration in declarations:
        file = declaration.place.file
        found[file] = (*found.get(file, ()), declaration.key)
    content = repr([(str(d.key), _plain(d.fields), d.options) for d in declarations])
    state = DesiredState(
        revision="abc",
        digest=Fingerprinter(b"").of(content),
        declarations={d.key: d for d in declarations},
        files={**found, **(files or {})},
        policy=Policy(name="prod"),
        origin=Origin(("root",), ""),
        commit="abc",
    )
    return replace(state, **changes)


def _plain(value: Any) -> Any:
    if isinstance(value, Secret | Masked):
        return "<secret>"
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return str(value)


class FreeLease:
    """A lease that is never lost unless told so."""

    spare = 15.0

    def __init__(self) -> None:
        self.lost = False
        self.callbacks = []

    def check(self) -> None:
        if self.lost:
            raise LeaseLost("the lease on prod is lost")

    async def confirm(self) -> None:
        self.check()

    def on_lost(self, callback) -> None:
        self.callbacks.append(callback)

    def lose(self) -> None:
        self.lost = True
        for callback in self.callbacks:
            callback()


@dataclass
class Bench:
    """A server and how we talk to it."""

    server: MemoryPrefect = field(default_factory=MemoryPrefect)
    clock: VirtualClock = field(default_factory=VirtualClock)
    name: str = "prod"
    kinds: Any = KINDS

    def access(self, fault: Any = None, *, secrets: bool = True) -> Access:
        api = MemoryApi(self.server, fault)
        store = InventoryStore(api, self.name, secrets=secrets)
        return Access.of(Session(api, secrets=secrets), self.kinds, store, self.clock)

    async def look(self, desired: DesiredState, options=EVERYTHING, fault=None, *, secrets=True):
        access = self.access(fault, secrets=secrets)
        desired, observed = await observe(desired, access, options)
        return build(desired, observed, options), desired, observed, access

    async def plan(self, desired: DesiredState, fault=None, *, secrets=True, **options) -> Plan:
        plan, *_ = await self.look(desired, PlanOptions(**options), fault, secrets=secrets)
        return plan

    async def apply(
        self, desired: DesiredState, fault=None, *, lease=None, secrets=True, **options
    ) -> Report:
        """Plan and apply, as one process would."""
        plan, desired, observed, access = await self.look(
            desired, PlanOptions(**options), fault, secrets=secrets
        )
        lease = lease or FreeLease()
        return await applying.apply(plan, desired, observed, access, lease)

    async def apply_with_lease(self, desired: DesiredState, fault=None, **options) -> Report:
        plan, desired, observed, access = await self.look(desired, PlanOptions(**options), fault)
        if not plan.effective:
            return applying.held(plan)
        async with Lease(access.session.api, ManualClock(), self.name, "bench") as lease:
            return await applying.apply(plan, desired, observed, access, lease)

    def writes(self) -> list[str]:
        """Every writing request so far, and forget them."""
        found = [f"{r.method} {r.path}" for r in self.server.log if not r.reading]
        self.server.log.clear()
        return found

    async def entries(self):
        return (await self.access().store.load()).inventory.entries
