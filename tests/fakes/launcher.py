"""Infrastructure in memory: counts executions, and lives on when the agent dies."""

from dataclasses import dataclass, field

import anyio

from reconciler.blocks.process import ProcessSettings
from reconciler.errors import Unreachable
from reconciler.infrastructure.base import NotLaunchable
from reconciler.model.launch import Ended, Found, Handle
from tests.fakes.prefect_runs import Killed


@dataclass
class Thing:
    """One piece of infrastructure."""

    spec: object
    owner: object
    started: bool = False
    ended: Ended | None = None
    over: anyio.Event = field(default_factory=anyio.Event)


class Host:
    """A machine: what runs on it outlives agents.

    Attributes:
        executions: the flow runs that were executed, once for each execution.
        last_lines: of what a flow prints.
        runs_for: virtual seconds that a flow takes; None: until it is told to end.
    """

    def __init__(self, server, clock, name="host", runs_for=1.0, final="COMPLETED", exit_code=0):
        self.server, self.clock, self.name = server, clock, name
        self.runs_for, self.final, self.exit_code = runs_for, final, exit_code
        self.things: dict[str, Thing] = {}
        self.executions: list[str] = []
        self.stopped: list[str] = []
        self.last_lines = ("last line",)
        self.group = None

    def thing_of(self, run_id):
        """Return the infrastructure of a run that was launched once."""
        [thing] = [one for one in self.things.values() if one.spec.flow_run_id == run_id]
        return thing

    def begin(self, thing):
        run_id = thing.spec.flow_run_id
        self.executions.append(run_id)
        self.group.start_soon(self._execute, thing)

    async def _execute(self, thing):
        run_id = thing.spec.flow_run_id
        if self.server.kind(run_id) == "PENDING":
            self.server.force(run_id, "RUNNING")
        if self.runs_for is None:
            await thing.over.wait()
            return
        await self.clock.sleep(self.runs_for)
        if thing.ended is None:
            if self.final:
                self.server.force(run_id, self.final)
            self.end(thing, self.exit_code, "it ended")

    def end(self, thing, code, reason):
        thing.ended = thing.ended or Ended(code, reason, self.last_lines)
        thing.over.set()

    def agent_died(self, launcher):
        """What waits at its gate ends with its agent."""
        for thing in self.things.values():
            if thing.owner is launcher and not thing.started:
                self.end(thing, 125, "its agent is gone")


class FakeLauncher:
    """Implements `reconciler.infrastructure.base.Launcher` on a `Host`.

    Attributes:
        kill_before, kill_after: names of methods at which the agent's process dies.
        refuse: make every launch impossible, with this reason.
        lose: so many starts are carried out and end in an error that tells nothing.
        away: so many starts end in such an error before anything is done.
    """

    slug = "process"
    local = True
    host_bound = True
    settings = ProcessSettings

    def __init__(self, host, api=None, *, kill_before=None, kill_after=None):
        self.host, self.api = host, api
        self.kill_before, self.kill_after = kill_before, kill_after
        self.refuse, self.lose, self.away = None, 0, 0
        self.specs = []

    def owns(self, pid):
        return pid.rpartition(":")[0] == self.host.name

    async def find(self, sought):
        await self._step("find")
        thing = self.host.things.get(sought.token)
        if thing is None:
            return None
        return Found(self._handle(thing.spec), thing.started, thing.ended is None)

    async def create(self, spec):
        await self._step("create")
        if self.refuse:
            raise NotLaunchable(self.refuse)
        self.specs.append(spec)
        self.host.things[spec.token] = Thing(spec, self)
        self._maybe_die("create")
        return self._handle(spec)

    async def start(self, handle):
        await self._step("start")
        if self.away:
            self.away -= 1
            raise Unreachable("the platform is away")
        thing = self.host.things[handle.token]
        if thing.owner is not self or thing.ended:
            raise NotLaunchable("not ours to start")
        thing.started = True
        self.host.begin(thing)
        self._maybe_die("start")
        if self.lose:
            self.lose -= 1
            raise Unreachable("the answer was lost")
        return handle

    async def ended(self, handle):
        await self._step("ended")
        thing = self.host.things[handle.token]
        await thing.over.wait()
        self._maybe_die("ended")
        return thing.ended

    async def stop(self, handle, grace):
        await self._step("stop")
        thing = self.host.things[handle.token]
        self.host.stopped.append(handle.flow_run_id)
        self.host.end(thing, -15, "it was stopped")
        self._maybe_die("stop")

    async def close(self):
        pass

    async def discard(self, handle):
        await self._step("discard")
        thing = self.host.things.get(handle.token)
        if thing is not None and thing.started:
            del self.host.things[handle.token]
        self._maybe_die("discard")

    async def logs(self, sought, lines):
        return ()

    async def watch(self):
        await anyio.sleep_forever()

    async def preflight(self, settings, api_url):
        return ()

    def _handle(self, spec):
        return Handle(spec.token, spec.flow_run_id, f"{self.host.name}:{int(spec.token[-4:], 16)}")

    async def _step(self, name):
        self.host.clock.activity += 1
        await anyio.lowlevel.checkpoint()
        if self.api is not None and self.api.dead:
            raise Killed
        if self.kill_before == name:
            self.api.die()

    def _maybe_die(self, name):
        if self.kill_after == name:
            self.api.die()
