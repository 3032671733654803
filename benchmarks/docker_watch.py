"""What watching containers costs: calls to the engine and memory, for 20 and for 200 runs at once.

    python -m benchmarks.docker_watch            # some minutes; needs root, as the test bed does

One agent launches the runs on a real engine, through a proxy that counts its calls. When all run,
the calls of a minute are counted, and the agent's memory is read (RSS). The ratio of the calls is
what counts: it stays near 1 however many runs there are.
"""

import argparse
import tempfile
import time
from pathlib import Path

import psutil

from tests.integration.agents import AgentProcess, ensure_pool, infrastructure_block
from tests.testbed import images, seed
from tests.testbed.dockerd import Dockerd
from tests.testbed.fault import FaultProxy
from tests.testbed.prefect import PrefectServer

_START_SECONDS = 900


def measure(server: PrefectServer, engine: Dockerd, runs: int, minute: float) -> tuple[int, float]:
    """Return the calls to the engine in a minute of `runs` running containers, and MB of memory."""
    server.reset()
    data = {
        "type": "docker-container",
        "image": images.pybase(engine),
        "command": ["sleep", "3600"],
        "stream_output": False,
        "auto_remove": True,
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        server.client() as client,
        FaultProxy("http://localhost", socket=engine.socket, streams="/events") as proxy,
    ):
        client.timeout = 120
        ensure_pool(client)
        block = infrastructure_block(client, "docker-container", "box", data)
        deployment = seed.deployment(
            client,
            "sleeps",
            work_pool_name="default-agent-pool",
            infrastructure_document_id=block,
            enforce_parameter_schema=False,
        )
        for _ in range(runs):
            seed.flow_run(client, deployment["id"])
        address = proxy.url.replace("http://", "tcp://")
        with AgentProcess(server, Path(folder), platforms={"docker_host": address}) as agent:
            seed.wait_until(
                lambda: sum("started" in line for line in agent.events) >= runs,
                seconds=_START_SECONDS,
            )
            time.sleep(5)  # the last ones' first looks
            proxy.forget()
            time.sleep(minute)
            calls = len(proxy.requests)
            memory = psutil.Process(agent.process.pid).memory_info().rss / 1e6
            agent.kill()
        engine.clear()
    return calls, memory


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs=2, default=(20, 200))
    parser.add_argument("--seconds", type=float, default=60.0, help="counted for each")
    options = parser.parse_args()
    print("| runs at once | calls to the engine in a minute | agent's memory, MB |")
    print("|---|---|---|")
    found = []
    with PrefectServer(3) as server, Dockerd() as engine:
        for runs in options.runs:
            calls, memory = measure(server, engine, runs, options.seconds)
            found.append(calls)
            print(f"| {runs} | {calls * 60 / options.seconds:.0f} | {memory:.0f} |", flush=True)
    print(f"\nratio of calls: {found[1] / max(1, found[0]):.2f}")


if __name__ == "__main__":
    main()
