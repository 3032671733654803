"""A world of agents in memory: one Prefect, hosts, agents that can die, and time that tests own."""

import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import anyio

from reconciler.agent.loop import Agent
from reconciler.agent.options import AgentOptions
from tests.fakes.launcher import FakeLauncher, Host
from tests.fakes.prefect_runs import Killed, PrefectRuns, RunsApi


class SteppedClock:
    """Time that stands still until a test moves it, in steps fine enough for agents."""

    STEP = 0.5
    QUIET = 15

    def __init__(self):
        self.activity = 0
        self._passed = 0.0
        self._sleepers = []

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._passed)

    def monotonic(self):
        return 1000.0 + self._passed

    async def sleep(self, seconds):
        self.activity += 1
        event = anyio.Event()
        self._sleepers.append((self._passed + seconds, event))
        await event.wait()

    async def advance(self, seconds):
        end = self._passed + seconds
        while self._passed < end:
            await self.settle()
            self._passed = min(end, self._passed + self.STEP)
            for wake, event in self._sleepers:
                if wake <= self._passed:
                    event.set()
            self._sleepers = [(w, e) for w, e in self._sleepers if w > self._passed]
        await self.settle()

    async def settle(self):
        """Let everybody go on until nothing was asked, launched or slept for some turns."""
        seen, quiet = self.activity, 0
        while quiet < self.QUIET:
            await anyio.lowlevel.checkpoint()
            quiet = quiet + 1 if seen == self.activity else 0
            seen = self.activity


class Member:
    """One agent of the world."""

    def __init__(self, world, api, launcher, agent, events, stop):
        self.world, self.api, self.launcher = world, api, launcher
        self.agent, self.events, self.stop = agent, events, stop
        self.over = anyio.Event()
        self.error = None

    @property
    def presence(self):
        return self.agent._context.presence

    def die(self):
        """What the kernel does when a process ends."""
        self.api.dead = True
        self.launcher.host.agent_died(self.launcher)
        locks = self.presence._locks
        for descriptor in locks._held.values():
            os.close(descriptor)
        locks._held.clear()

    def kill(self):
        """SIGKILL from outside."""
        self.die()
        self.scope.cancel()

    def texts(self):
        return [event.text for event in self.events]

    async def _live(self):
        try:
            with anyio.CancelScope() as self.scope:
                await self.agent.run(self.stop)
        except BaseExceptionGroup as group:
            rest = group.split(Killed)[1]
            if rest is not None and not self.api.dead:
                raise
        except Killed:
            pass
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error
        self.over.set()


class World:
    """See `world`."""

    def __init__(self, folder, group, major=3):
        self.folder, self.group = folder, group
        self.clock = SteppedClock()
        self.server = PrefectRuns(self.clock, major).pool()
        self.host = self.new_host()
        self.members = []

    def new_host(self, name=None, **how):
        host = Host(self.server, self.clock, name or os.uname().nodename, **how)
        host.group = self.group
        return host

    def agent(self, host=None, *, kill_at=None, after=False, apart=False, steps=None, **options):
        """Start an agent; `apart` lets it see no locks of the others."""
        number = len(self.members)
        how = {"code": options.pop("code", None)}
        folder = self.folder / (f"apart{number}" if apart else "host")
        api = RunsApi(self.server, kill_at, after=after)
        launcher = FakeLauncher(host or self.host, api, **(steps or {}))
        events = []
        base = {"name": f"agent{number}", "host_dir": folder, "poll_seconds": 2.0}
        agent = Agent(
            api,
            AgentOptions(**base | options),
            {"process": launcher},
            clock=self.clock,
            observe=events.append,
            **how,
        )
        member = Member(self, api, launcher, agent, events, anyio.Event())
        api.on_death = member.die
        self.members.append(member)
        self.group.start_soon(member._live)
        return member

    async def pass_time(self, seconds):
        await self.clock.advance(seconds)


@asynccontextmanager
async def world(folder, major=3):
    """Open a world; whoever still lives at the end is ended."""
    async with anyio.create_task_group() as group:
        yield World(folder, group, major)
        group.cancel_scope.cancel()
