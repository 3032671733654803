"""Agents' Docker launchers, one after another, on one real engine."""

from contextlib import asynccontextmanager

import anyio

from reconciler.blocks.docker import DockerContainerSettings
from reconciler.errors import Transient
from reconciler.infrastructure.base import Surroundings
from reconciler.infrastructure.docker import DockerLauncher
from reconciler.infrastructure.docker.request import TOKEN_LABEL
from reconciler.model.launch import LaunchSpec, Sought
from reconciler.runtime.clock import SystemClock
from reconciler.settings import PlatformSettings
from tests.testbed import images


class Bench:
    """One agent's launcher after another, on one engine."""

    def __init__(self, engine, folder, group):
        self.engine, self.folder, self.group = engine, folder, group
        self.image = images.pybase(engine)
        self.lines = []
        self.launcher = None
        self._number = 0

    async def agent(self, address=None, clock=None):
        """Start a launcher; one that was there before is gone, as when its agent dies."""
        if self.launcher is not None:
            self.scope.cancel()
        surroundings = Surroundings(
            state_dir=self.folder,
            host_dir=self.folder,
            inherited=dict,
            python="python",
            clock=clock or SystemClock(),
            output=lambda run_id, line: self.lines.append((run_id, line)),
            images=self.image,
            platforms=PlatformSettings(docker_host=address or self.engine.url),
        )
        self.launcher = DockerLauncher(surroundings)
        self.scope = await self.group.start(self._watch, self.launcher)
        return self.launcher

    async def _watch(self, launcher, *, task_status):
        with anyio.CancelScope() as scope:
            task_status.started(scope)
            while True:
                try:
                    await launcher.watch()
                except Transient:
                    await anyio.sleep(0.2)

    def spec(self, code="print('hello')", **settings):
        self._number += 1
        number = self._number
        return LaunchSpec(
            token=f"22222222-2222-8222-8222-{number:012d}",
            flow_run_id=f"run-{number}",
            name=f"name {number}",
            type="docker-container",
            settings=DockerContainerSettings(**{"auto_remove": True, **settings}),
            env={"PREFECT_API_URL": "https://prefect.example.com/api"},
            command=("python3", "-u", "-c", code),
        )

    async def started(self, spec):
        return await self.launcher.start(await self.launcher.create(spec))

    async def found(self, spec):
        return await self.launcher.find(Sought(spec.token, spec.flow_run_id))

    async def ended(self, handle):
        with anyio.fail_after(60):
            return await self.launcher.ended(handle)

    def containers(self):
        return self.engine.docker("ps", "-aq", "--filter", f"label={TOKEN_LABEL}").split()

    def wait(self, handle):
        self.engine.docker("wait", handle.pid.rpartition(":")[2])


@asynccontextmanager
async def opened(engine, folder):
    """Give a bench with an agent's launcher that is watched, and clear the engine after it."""
    async with anyio.create_task_group() as group:
        made = Bench(engine, folder, group)
        await made.agent()
        try:
            yield made
        finally:
            made.scope.cancel()
            for container in made.containers():
                engine.docker("rm", "--force", container, check=False)
