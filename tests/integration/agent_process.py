"""An agent as a process of its own: `python -m tests.integration.agent_process '<json>'`.

It prints `<what> <text>` for each event, and drains on SIGTERM, as the real command does.
"""

import json
import os
import signal
import sys
from pathlib import Path

import anyio

from reconciler.agent.loop import Agent
from reconciler.agent.options import AgentOptions, connection_environment
from reconciler.api.connect import connect
from reconciler.infrastructure import Surroundings, launchers
from reconciler.runtime.clock import SystemClock
from reconciler.settings import ConnectionSettings, PlatformSettings, flow_run_environment


async def main(wanted):
    clock, connection = SystemClock(), ConnectionSettings.to(wanted["url"])
    here = Path(wanted["folder"])
    surroundings = Surroundings(
        state_dir=here / wanted["name"],
        host_dir=here / "host",
        inherited=lambda: flow_run_environment(dict(os.environ)),
        python=wanted["python"],
        warm=True,
        clock=clock,
        output=lambda run_id, line: print("|", line, flush=True),
        platforms=PlatformSettings.model_validate(wanted["platforms"]),
    )
    # Flow runs go to the server itself: a fault proxy is for the agent only.
    to_server = ConnectionSettings.to(wanted["server"])
    options = AgentOptions(
        name=wanted["name"],
        host_dir=here / "host",
        environment=connection_environment(to_server),
        **wanted["options"],
    )
    stop = anyio.Event()
    async with connect(connection, clock) as api, anyio.create_task_group() as group:

        async def listen():
            with anyio.open_signal_receiver(signal.SIGTERM) as signals:
                async for _ in signals:
                    stop.set()

        group.start_soon(listen)
        agent = Agent(api, options, launchers(surroundings), observe=show)
        await agent.run(stop)
        group.cancel_scope.cancel()


def show(event):
    print(event.what, event.text, flush=True)


if __name__ == "__main__":
    anyio.run(main, json.loads(sys.argv[1]))
